"""The domain objects: what is asked, what comes back, and what is recorded of it."""
