"""The command line: what an operator sees of the counters, and may do to them."""

from budget_middleware.cli.entry import main

__all__ = ["main"]
