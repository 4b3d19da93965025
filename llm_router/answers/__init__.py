"""What comes back: answers of every kind, their parts, and the records of a call."""
