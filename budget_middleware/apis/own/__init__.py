"""Dialects of the user's own: checked at start-up, isolated later."""
