"""A gateway that answers responses on a WebSocket by itself: each `response.create` with as many words as its input."""

import json

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from budget_middleware import BudgetMiddleware
from tests.sessions.responses import completed, created, delta


async def respond(socket: WebSocket) -> None:
    await socket.accept()
    number = 0
    try:
        while True:
            message = await socket.receive()
            event = json.loads(message.get("text") or message["bytes"])
            number += 1
            id_, lane = f"resp_{number}", event.get("stream_id", "")
            await socket.send_json(created(id_, lane=lane, tokens=event.get("max_output_tokens")))
            words = event["input"].split()
            for index, word in enumerate(words):
                text = delta(word, lane=lane)
                if index % 2:
                    await socket.send_bytes(json.dumps(text).encode())
                else:
                    await socket.send_json(text)
            if event.get("store") is not False:
                await socket.send_json(completed(len(words), id_, lane=lane))
    except (WebSocketDisconnect, KeyError):
        return


async def health(_: object) -> PlainTextResponse:
    return PlainTextResponse("here")


app = BudgetMiddleware(Starlette(routes=[WebSocketRoute("/v1/responses", respond), Route("/", health)]))
