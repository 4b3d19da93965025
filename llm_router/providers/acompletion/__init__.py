"""LiteLLM's own call: for kinds whose wire we do not read, and for hosts with its callbacks."""
