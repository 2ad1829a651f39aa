"""One metered request: read its body, admit or refuse it, and give it to the app.

    read body ──> admit ──> exchange with the app ──> ending
                   │ 400, 429, 503
                   v
                refusal

A `BudgetResponder` holds what all requests share, an `Exchange` what one of them needs.
"""

import time
from functools import partial
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from budget_middleware.apis.bodies.reading import UNREADABLE, PartialBody
from budget_middleware.apis.json_rpc.calls import RpcApi
from budget_middleware.apis.protocol.base import Api, Reason, Refusal
from budget_middleware.event_loops import PerEventLoop
from budget_middleware.headers import HeaderTable
from budget_middleware.ledger import Ledger
from budget_middleware.payers.payers import fields_of_the_body
from budget_middleware.request.admission import Admission, Refused
from budget_middleware.request.bodies.body import RequestBody
from budget_middleware.request.bodies.in_hand import BodiesInHand
from budget_middleware.request.bodies.rewriting import for_the_app
from budget_middleware.request.clamping import affordable_tokens
from budget_middleware.request.exchange import Exchange
from budget_middleware.request.headers.limit_headers import rate_limit_headers
from budget_middleware.request.headers.refusals import budget_headers, retry_headers, send_refusal
from budget_middleware.request.nesting import LedgerMark
from budget_middleware.request.unmetered.unmetered import UnmeteredRequests
from budget_middleware.request.waiting import WaitingClient
from budget_middleware.routing import SHARED, Route, RouteKind, is_call, route_by_body
from budget_middleware.setting_types import Mode
from budget_middleware.settings import Settings

_SMOOTHING = 0.1
_OF_TWO_APIS: Final = Refusal(
    status=400,
    reason=Reason.BAD_REQUEST,
    message="The body has fields of two APIs that are at this path; BUDGET_ROUTES can say which of them it is.",
)


class BudgetResponder:
    """Answers metered requests, by the app or by a refusal; raises what the app raises.

    ``in_hand`` bounds what it holds of bodies, in each event loop.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        settings: Settings,
        ledger: Ledger,
        admission: Admission,
        unmetered: UnmeteredRequests,
    ) -> None:
        self._app = app
        self._settings = settings
        self._ledger = ledger
        self._admission = admission
        self._unmetered = unmetered
        self._ledger_mark = LedgerMark(
            ledger, namespace=settings.namespace, secret=settings.hash_secret.get_secret_value()
        )
        self._waits = settings.wait_s > 0 and settings.mode is Mode.ENFORCE
        self._clamps = settings.clamp and settings.mode is Mode.ENFORCE
        # How long calls took lately: a running mean that forgets.
        self._mean_call_s = 1.0
        self.in_hand = PerEventLoop(partial(BodiesInHand, settings.max_bodies_bytes, settings.body_timeout_s))
        self._payers_fields = fields_of_the_body(settings.accounts)

    async def respond(self, route: Route, scope: Scope, receive: Receive, send: Send) -> None:
        headers = HeaderTable(scope["headers"])
        body = RequestBody(
            receive,
            headers=headers,
            max_bytes=self._settings.max_body_bytes,
            in_hand=self.in_hand.current(),
            fields=self._payers_fields,
        )
        try:
            await body.read()
            if body.is_client_gone:
                return
            found: Route | None = route
            is_rpc = route.rpc is not None or isinstance(route.api, RpcApi)
            if is_rpc or route.kind is SHARED or body.refusal is not None:
                found = await self._route_by_body(route, scope, body, receive=receive, send=send)
            if found is None or (api := found.api) is None:
                return
            client = WaitingClient(body, receive, self._settings) if self._waits else None
            admitted = await self._admission.admit(api, scope, body, path=found.path, client=client)
            if body.is_client_gone:
                return  # It left while it waited.
            if isinstance(admitted, Refused):
                await self._refuse(api, admitted, send)
                return
            started, exchange = time.monotonic(), None
            try:
                at_most = affordable_tokens(admitted) if self._clamps else None
                hides_usage, scope = for_the_app(api, scope, body, at_most=at_most)
                exchange = Exchange(
                    api,
                    admitted,
                    body=body,
                    receive=receive,
                    send=send,
                    hides_usage=hides_usage,
                    settings=self._settings,
                    ledger=self._ledger,
                    ledger_mark=self._ledger_mark,
                )
                await exchange.run(self._app, scope)
            finally:
                if exchange is None:
                    # Nobody else would end it.
                    self._ledger.release(admitted.hold, reason="it could not be passed on")
                self._mean_call_s += _SMOOTHING * (time.monotonic() - started - self._mean_call_s)
        finally:
            body.close()

    async def _route_by_body(
        self, route: Route, scope: Scope, body: RequestBody, *, receive: Receive, send: Send
    ) -> Route | None:
        """The route of a call whose body says which it is, with the API that reads it; None if the request is answered:
        its body is refused, or it is no call.
        """
        api = route.api
        assert api is not None
        if body.refusal is not None and self._settings.mode is Mode.ENFORCE:
            await self._refuse(api, Refused(body.refusal), send)
            return None
        if route.rpc is not None:
            found = route_by_body(route, scope, document=body.document, n_bytes=body.n_bytes)
            if found is None and self._settings.mode is Mode.ENFORCE:
                await self._refuse(api, Refused(_OF_TWO_APIS), send)
                return None
            route = found or route._replace(rpc=None)
            api = route.api or api
        if isinstance(api, RpcApi):
            is_read = body.document is not UNREADABLE and not isinstance(body.document, PartialBody)
            api = bound = api.bind(body.text if is_read else b"", path=route.path, n_bytes=body.n_bytes)
            # A session of MCP is ended by a DELETE.
            if bound.is_free or (scope["method"] == "DELETE" and not body.n_bytes):
                free = route._replace(kind=RouteKind.FREE, api=None)
                await self._unmetered.respond(free, scope, body.replay_then(receive), send)
                return None
        if route.kind is SHARED and not is_call(route, scope, document=body.document, n_bytes=body.n_bytes):
            nobodys = route._replace(kind=RouteKind.UNKNOWN, api=None)
            await self._unmetered.respond(nobodys, scope, body.replay_then(receive), send)
            return None
        return route._replace(api=api)

    async def _refuse(self, api: Api, refused: Refused, send: Send) -> None:
        self._admission.count_refused(refused)
        refusal = refused.refusal
        headers = retry_headers(refusal.reason, call_s=self._mean_call_s, retry_after_s=refusal.retry_after_s)
        if self._settings.headers and refused.hold is not None:
            headers += budget_headers(refused.hold.id, estimate_nanos=refused.hold.asked.usd)
        if self._settings.headers and refused.rejection is not None:
            target, balance, _ = refused.rejection
            now_ms = self._ledger.store_time_ms()
            headers += rate_limit_headers((target,), [balance], now_ms=now_ms, api=api.name)
        await send_refusal(api, refused.refusal, send, headers=headers)
