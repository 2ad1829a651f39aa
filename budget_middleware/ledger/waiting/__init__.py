"""Waiting for budget that is only held. See `waiting`."""
