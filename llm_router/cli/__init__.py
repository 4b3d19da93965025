"""The command `llm-router`."""
