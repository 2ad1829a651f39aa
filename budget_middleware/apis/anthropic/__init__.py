"""Anthropic's messages and what they report."""
