"""A budget guard for ASGI LLM gateways: reserve before the call, finalize with the real cost, trace every change."""

from budget_middleware.ledger import BudgetHandle, BudgetRejected, Hold, Ledger
from budget_middleware.middleware import BudgetMiddleware
from budget_middleware.opening import open_ledger
from budget_middleware.operations.operators import Operator
from budget_middleware.settings import Settings, SettingsError

__all__ = [
    "BudgetHandle",
    "BudgetMiddleware",
    "BudgetRejected",
    "Hold",
    "Ledger",
    "Operator",
    "Settings",
    "SettingsError",
    "open_ledger",
]
