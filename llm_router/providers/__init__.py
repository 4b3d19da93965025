"""The adapters: what turns a ProviderRequest into an answer or one of our errors."""
