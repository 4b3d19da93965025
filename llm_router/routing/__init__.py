"""The attempt loop: one place that decides what is tried, when, and how often."""
