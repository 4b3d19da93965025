"""One routing layer over LiteLLM and OpenRouter."""
