"""Structured output: schemas, the ladder of modes, and the reading of what a model wrote."""
