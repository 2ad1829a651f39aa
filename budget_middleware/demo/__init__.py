"""`budget-middleware demo`: the examples as real servers, realistic traffic, and what the counters show."""

from budget_middleware.demo.play import run_demo

__all__ = ["run_demo"]
