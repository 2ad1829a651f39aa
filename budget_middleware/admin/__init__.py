"""The operator's faces over HTTP, with the extra `[admin]`: the API, and the pages that hang on the same gate.

Imported only where a token, or the gateway's own login, asks for it: FastAPI takes a third of a second and 20 MB.
"""

from budget_middleware.admin.app import AdminApp, admin_app
from budget_middleware.operations.operators import Operator, OperatorSource

__all__ = ["AdminApp", "Operator", "OperatorSource", "admin_app"]
