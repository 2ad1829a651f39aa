"""Detects a CORS layer inside the middleware, which leaves refusals unreadable for a browser.

A browser shows an answer to a page only if it has CORS headers. A layer inside adds them to the app's answers and not
to ours, so that a refusal looks like a network error. Before nearly every call to an LLM API a browser sends a
preflight: a layer outside answers it before us, a layer inside lets it come through. So only preflights are looked at,
and other requests pay nothing.
"""

import logging
from collections.abc import Callable
from typing import Final

from starlette.types import Message, Scope, Send

from budget_middleware.ledger import Ledger
from budget_middleware.request.unmetered.unmetered import template_of
from budget_middleware.routing import Router
from budget_middleware.stores.notes import Topic

_ASKS: Final = b"access-control-request-method"
_ALLOWS: Final = b"access-control-allow-origin"

_log = logging.getLogger("budget_middleware")


class CorsWatch:
    """``on_inner_layer`` is called with the path of a preflight that a layer inside has answered; True: no more."""

    def __init__(self, on_inner_layer: Callable[[str], bool]) -> None:
        self._on_inner_layer = on_inner_layer
        self._has_reported = False

    def watch(self, scope: Scope, send: Send) -> Send:
        """The ``send`` for the app of an OPTIONS request."""
        if self._has_reported or not any(name == _ASKS for name, _ in scope["headers"]):
            return send

        async def send_and_check(message: Message) -> None:
            if message["type"] == "http.response.start" and not self._has_reported:
                self._check(scope["path"], message)
            await send(message)

        return send_and_check

    def _check(self, path: str, message: Message) -> None:
        if any(bytes(name).lower() == _ALLOWS for name, _ in message.get("headers", ())):
            self._has_reported = self._on_inner_layer(path)


def report_inner_layer(path: str, *, router: Router, ledger: Ledger) -> bool:
    """Tell of a CORS layer inside of us; whether it is one for an API that is metered."""
    if router.route_of({"path": path}).api is None:
        return False
    if ledger.add_note(Topic.CORS, template_of(path)):
        _log.warning(
            "a CORS layer stands inside BudgetMiddleware: refusals have no CORS headers, and a browser reports"
            " them as network errors; add CORSMiddleware after BudgetMiddleware (docs/gateways.md, Browsers)"
        )
    return True
