"""A gateway that translates what it hears by saying it again, and has live sessions: three seconds for each event."""

import json
from typing import Any

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from budget_middleware import BudgetMiddleware


async def translate(socket: WebSocket) -> None:
    await socket.accept()
    session = {"id": "sess_1", "type": "translation", "model": "interpreter", "expires_at": 0, "audio": {}}
    await socket.send_json({"type": "session.created", "event_id": "event_1", "session": session})
    try:
        while True:
            event = await _event(socket)
            if event["type"] == "session.close":
                await socket.send_json({"type": "session.closed", "event_id": "event_3"})
                await socket.close()
                return
            said = {"type": "session.output_audio.delta", "event_id": "event_2", "delta": event["audio"]}
            await socket.send_json(said)
    except (WebSocketDisconnect, KeyError):
        return


async def talk(socket: WebSocket) -> None:
    await socket.accept()
    seconds = 0.0
    try:
        while True:
            event = await _event(socket)
            session = {"id": "sess_1", "object": "live.session", "model": "host"}
            if event["type"] == "session.start":
                await socket.send_json({"type": "session.started", "event_id": "event_1", "session": session})
            elif event["type"] == "session.close":
                closed = {"type": "session.closed", "event_id": "event_3", "reason": "close_requested"}
                await socket.send_json({**closed, "session": session, "usage": {"seconds": seconds}})
                await socket.close()
                return
            else:
                seconds += 3
                used = {"type": "session.usage.updated", "event_id": "event_2", "usage": {"seconds": seconds}}
                await socket.send_json(used)
    except (WebSocketDisconnect, KeyError):
        return


async def _event(socket: WebSocket) -> dict[str, Any]:
    message = await socket.receive()
    event: dict[str, Any] = json.loads(message.get("text") or message["bytes"])
    return event


async def health(_: object) -> PlainTextResponse:
    return PlainTextResponse("here")


routes = [
    WebSocketRoute("/v1/realtime/translations", translate),
    WebSocketRoute("/v1/live/sessions", talk),
    Route("/", health),
]
bare = Starlette(routes=routes)
app = BudgetMiddleware(bare)
