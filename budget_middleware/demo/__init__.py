"""`budget-middleware demo`: the examples as real servers, traffic as it comes in life, and what the counters say."""

from budget_middleware.demo.play import run_demo

__all__ = ["run_demo"]
