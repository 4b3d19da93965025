"""The configuration: what a file may say, how it is read, and what is wrong in it."""
