"""What providers send, bytes to answers, streams and errors. Pure."""
