"""One file an operation: what is asked, what an answer is, and when it is none."""
