"""Requests that are not metered: they pass, or are refused; and the preflights of browsers among them."""
