"""What metered requests are answered if the settings are wrong and the server has started all the same."""

from collections.abc import Iterable

from starlette.types import ASGIApp, Receive, Scope, Send

from budget_middleware.apis import session_dialect_of
from budget_middleware.apis.protocol.base import Api, Reason, Refusal
from budget_middleware.request.headers.refusals import refuse_handshake, retry_headers, send_refusal
from budget_middleware.routing import Router


async def refuse_misconfigured(
    app: ASGIApp, scope: Scope, receive: Receive, send: Send, *, error: ValueError, own_apis: Iterable[Api]
) -> None:
    """Answer 500 to what would be metered, and give everything else to the app."""
    # The rules of BUDGET_ROUTES may be what cannot be read.
    api = Router((), own_apis=tuple(own_apis)).route_of(scope).api
    refusal = Refusal(status=500, reason=Reason.MISCONFIGURED, message=f"Budget settings: {error}")
    if api is not None and scope["type"] == "http":
        await send_refusal(api, refusal, send, headers=retry_headers(refusal.reason, call_s=0))
    elif api is not None and session_dialect_of(api) is not None:
        await refuse_handshake(api, refusal, scope, receive=receive, send=send)
    else:
        await app(scope, receive, send)
