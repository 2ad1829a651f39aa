"""A gateway of calls over WebRTC: it has an address for each, a sideband on it, and hangs up."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute

from budget_middleware import BudgetMiddleware
from tests.sessions.realtime_gateway import health, talk


async def create(_: Request) -> Response:
    headers = {"location": "/v1/realtime/calls/rtc_1"}
    return PlainTextResponse("v=0\r\n", status_code=201, media_type="application/sdp", headers=headers)


async def hang_up(request: Request) -> Response:
    return Response(status_code=200 if request.path_params["call"] == "rtc_1" else 404)


CALLS = "/v1/realtime/calls"
routes = [
    Route(CALLS, create, methods=["POST"]),
    Route(f"{CALLS}/{{call}}/hangup", hang_up, methods=["POST"]),
    WebSocketRoute("/v1/realtime", talk),
    Route("/", health),
]
app = BudgetMiddleware(Starlette(routes=routes))
