"""The gate before every route of the admin app: who asks, may they, and nothing else gets through."""

from collections.abc import Callable
from typing import Final

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from budget_middleware.admin.access import Access, is_same_site
from budget_middleware.admin.problems import problem_response, too_many_wrong_tokens, unauthorized
from budget_middleware.admin.sessions import COOKIE
from budget_middleware.admin.wrong_tokens import TooManyWrongTokens
from budget_middleware.operations.operators import Operator

READ_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
OPERATOR: Final = "budget_operator"
"""Where a scope's state has who asks; None at a path that is open to everybody."""

CSRF_HEADER: Final = "x-csrf-token"
_API: Final = "/api/"


def path_below(scope: Scope) -> str:
    """The path behind where the app is mounted."""
    path, root = str(scope["path"]), str(scope.get("root_path") or "").rstrip("/")
    return path[len(root) :] if root and path.startswith(f"{root}/") else path


class Gate:
    """Lets operators in. `is_open` says of a path whether everybody may read and post there: the page that signs in."""

    def __init__(self, app: ASGIApp, access: Access, *, is_open: Callable[[str], bool] = lambda _: False) -> None:
        self._app = app
        self._access = access
        self._is_open = is_open

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        elif scope["type"] == "http":
            await self._admit(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_open = self._is_open(path_below(scope))
        try:
            operator = await self._access.operator_of(scope)
        except TooManyWrongTokens as error:
            await too_many_wrong_tokens(error.retry_after_s)(scope, receive, send)
            return
        if operator is None and not is_open:
            await unauthorized()(scope, receive, send)
        elif operator is not None and not is_open and (why := self._why_not(scope, operator)):
            await problem_response(403, why)(scope, receive, send)
        else:
            state = {**scope.get("state", {}), OPERATOR: operator}
            await self._app({**scope, "state": state}, receive, send)

    def _why_not(self, scope: Scope, operator: Operator) -> str:
        """Why this operator may not do this; empty where they may."""
        if scope["method"] in READ_METHODS:
            return ""
        if not operator.may_write:
            return "this token reads; a change needs the other one"
        connection = HTTPConnection(scope)
        if "authorization" in connection.headers:
            return ""
        if not is_same_site(scope):
            return "a change is accepted from our own page alone"
        if not path_below(scope).startswith(_API):
            # A form of a page sends it as a field, which the page checks: the body is not read here.
            return ""
        cookie, given = connection.cookies.get(COOKIE, ""), connection.headers.get(CSRF_HEADER, "")
        sessions = self._access.sessions
        if sessions.role_of(cookie) and not sessions.is_csrf_token(given, cookie):
            return f"{CSRF_HEADER} is not the one of this session"
        return ""
