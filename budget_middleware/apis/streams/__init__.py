"""A byte stream as events, and the format that a content type names."""
