"""The command line: shows operators the counters, and changes what they may change."""

from budget_middleware.cli.entry import main

__all__ = ["main"]
