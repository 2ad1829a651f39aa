"""One method a verb; ids, windows, limits, spans, heartbeats and owned tasks around a store. All faces call it."""

from budget_middleware.ledger.hold import Hold
from budget_middleware.ledger.ledger import Ledger
from budget_middleware.ledger.limit_layers import LimitsSource

__all__ = ["Hold", "Ledger", "LimitsSource"]
