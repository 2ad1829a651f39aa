"""A budget guard for ASGI LLM gateways: reserve before the call, finalize with the real cost, trace every change."""

from budget_middleware.ledger import Hold, Ledger
from budget_middleware.middleware import BudgetMiddleware
from budget_middleware.settings import Settings, SettingsError

__all__ = ["BudgetMiddleware", "Hold", "Ledger", "Settings", "SettingsError"]
