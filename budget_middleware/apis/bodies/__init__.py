"""Bytes that anybody may have sent, as values: JSON, forms and compressed bodies, in bounded time and memory."""
