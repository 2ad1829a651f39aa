"""What is counted of a request's input, media included, and of an answer's output."""
