"""Requests that are not metered: they pass, are counted and noted for operators, or BUDGET_UNMETERED refuses them."""

import logging
import re
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from budget_middleware.apis import APIS
from budget_middleware.apis.jobs.realtime_direct import REALTIME_DIRECT, RealtimeDirect
from budget_middleware.apis.protocol.base import Api, Reason, Refusal
from budget_middleware.headers import HeaderTable
from budget_middleware.ledger import Ledger
from budget_middleware.request.headers.refusals import refuse_handshake, retry_headers, send_refusal
from budget_middleware.request.scopes import FREE_METHODS, meant_methods
from budget_middleware.routing import Route, RouteKind
from budget_middleware.setting_types import Mode, Unmetered
from budget_middleware.settings import Settings
from budget_middleware.stores.notes import Topic

# No API generates by these: they change and delete what is kept.
_COSTS_NOTHING: Final = FREE_METHODS | {"PUT", "PATCH", "DELETE"}
# Numbers, UUIDs, ids behind a prefix; and whatever is long and mixes letters with digits, for it may be a key.
_ID: Final = re.compile(
    r"[0-9]++|[0-9a-fA-F-]{16,}+|[A-Za-z]++[_-][A-Za-z_-]*+[0-9][A-Za-z0-9_-]*+"
    r"|(?=[^0-9]*+[0-9])(?=[^A-Za-z]*+[A-Za-z])[A-Za-z0-9_~+=-]{16,}+|eyJ.++"
)
_TEMPLATE_CHARS: Final = 200
_LOOKED_AT_CHARS: Final = 1_000
# Paths come from clients: after so many templates no more are logged.
_LOGGED_AT_MOST: Final = 1_000
_WEBSOCKET: Final = "WebSocket"
# Headers that an API's SDK sends with every request: if the path does not show the API, they show whose errors the
# caller understands.
_HEADERS_OF: Final = {b"anthropic-version": "anthropic-messages", b"x-goog-api-key": "gemini"}

_log = logging.getLogger("budget_middleware")


_DIRECT: Final = Refusal(
    status=403,
    reason=Reason.UNMETERED,
    message="Realtime sessions that go around this gateway are refused here (BUDGET_REALTIME_DIRECT=refuse); open one "
    "through it, on a WebSocket.",
)


UNCLEAR_PATH: Final = Refusal(
    status=400,
    reason=Reason.BAD_REQUEST,
    message="The path of the request could be read in several ways, which name different models, APIs or jobs.",
)


class UnmeteredRequests:
    """Passes requests on to the app without a reservation, or refuses them."""

    def __init__(self, app: ASGIApp, *, settings: Settings, ledger: Ledger) -> None:
        self._app = app
        self._ledger = ledger
        self._enforces = settings.mode is Mode.ENFORCE
        self._refuses = self._enforces and settings.unmetered is Unmetered.REFUSE
        # The API of requests that open a realtime session around the gateway; None if these may pass.
        refuses_direct = self._enforces and settings.realtime_direct is RealtimeDirect.REFUSE
        self.refused_api = REALTIME_DIRECT if refuses_direct else None
        self._refused: set[str] = set()

    async def respond(self, route: Route, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request of a route that is not metered, or refuse it."""
        refusal = self._decide(route, scope)
        if refusal is None:
            await self._app(scope, receive, send)
            return
        if scope["type"] == "websocket":
            _count(self._ledger, str(refusal.reason))
            await refuse_handshake(_api_of(route, scope), refusal, scope, receive=receive, send=send)
        else:
            await _refuse(refusal, route, scope, send, ledger=self._ledger)

    def _decide(self, route: Route, scope: Scope) -> Refusal | None:
        if route.kind is RouteKind.UNCLEAR and self._enforces:
            return UNCLEAR_PATH
        if route.api is not None and route.api is self.refused_api:
            return _DIRECT
        method = _WEBSOCKET if scope["type"] == "websocket" else scope["method"]
        if method != _WEBSOCKET and meant_methods(scope) <= _COSTS_NOTHING:
            return None
        if route.kind is RouteKind.FREE and method != _WEBSOCKET:
            _count(self._ledger, "free")
            return None
        if route.kind is RouteKind.EXEMPT:
            _count(self._ledger, "unmetered")
            return None
        template = template_of(scope["path"])
        if not self._refuses:
            _count(self._ledger, "unmetered")
            self._report_passed(method, template)
            return None
        self._log_refused(method, template)
        return Refusal(
            status=403,
            reason=Reason.UNMETERED,
            message=f"{method} {template} is on no metered route, and BUDGET_UNMETERED=refuse.",
        )

    def _report_passed(self, method: str, template: str) -> None:
        if self._ledger.add_note(Topic.UNMETERED, template if method == "POST" else f"{method} {template}"):
            _log.warning(
                "%s %r passes unmetered: that path is no known LLM API (BUDGET_ROUTES adds one)", method, template
            )

    def _log_refused(self, method: str, template: str) -> None:
        if template in self._refused or len(self._refused) >= _LOGGED_AT_MOST:
            return
        self._refused.add(template)
        _log.warning("%s %r is refused by BUDGET_UNMETERED=refuse (BUDGET_ROUTES can let it pass)", method, template)


async def refuse_unclear(scope: Scope, send: Send, *, ledger: Ledger) -> None:
    """Refuse a request that may be answered as if it were another one."""
    await _refuse(UNCLEAR_PATH, Route(RouteKind.UNCLEAR, scope["path"]), scope, send, ledger=ledger)


async def _refuse(refusal: Refusal, route: Route, scope: Scope, send: Send, *, ledger: Ledger) -> None:
    _count(ledger, str(refusal.reason))
    await send_refusal(_api_of(route, scope), refusal, send, headers=retry_headers(refusal.reason, call_s=0))


def _count(ledger: Ledger, status: str) -> None:
    ledger.telemetry.metrics.count_request(status=status, model="other")


def template_of(path: str) -> str:
    """A path with its ids taken out, so that many requests have one; short, for it comes from a client."""
    segments = path[:_LOOKED_AT_CHARS].split("/")
    return "/".join("{id}" if _ID.fullmatch(segment) else segment for segment in segments)[:_TEMPLATE_CHARS]


def _api_of(route: Route, scope: Scope) -> Api:
    """The API in whose shape a caller expects an error, OpenAI's if nothing shows it."""
    if route.api is not None:
        return route.api
    found = HeaderTable(scope["headers"]).keys() & frozenset(_HEADERS_OF)
    name = next((_HEADERS_OF[header] for header in found), APIS[0].name)
    return next(api for api in APIS if api.name == name)
