"""From a schema to a validated object, and the truth about how it got there."""
