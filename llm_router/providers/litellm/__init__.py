"""Every provider that LiteLLM knows, through `litellm.acompletion`."""
