"""The admin API and the dashboard, behind the same tokens; with the extra `[admin]`.

Imported only where a token, or the gateway's own login, asks for it: FastAPI takes a third of a second and 20 MB.
"""

from budget_middleware.admin.app import AdminApp, admin_app
from budget_middleware.operations.operators import Operator, OperatorSource

__all__ = ["AdminApp", "Operator", "OperatorSource", "admin_app"]
