"""Limits: their texts, which of them bind a request, and what they say of it. Counters know only their amounts."""
