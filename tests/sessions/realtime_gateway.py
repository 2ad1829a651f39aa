"""A gateway with a realtime API of its own: it says the instructions of each response, a token a word.

With turn detection, which it has until a session ends it, it answers each third sound with two words. Instructions that
end in "…" are never done, unless they are cancelled.
"""

import json
from typing import Any

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from budget_middleware import BudgetMiddleware
from tests.sessions.realtime import created, delta, done, of_session, session


class Conversation:
    """One session of the gateway."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket
        self._n_responses = 0
        self._n_sounds = 0
        self._listens = True
        self._instructions = ""
        self._open: dict[str, int] = {}

    async def take(self, event: dict[str, Any]) -> None:
        match event["type"]:
            case "session.update":
                given = event["session"]
                self._listens = given.get("audio", {}).get("input", {}).get("turn_detection") is not None
                self._instructions = given.get("instructions") or self._instructions
                await self._say(of_session("updated", {**session(), **given}))
            case "input_audio_buffer.append":
                self._n_sounds += 1
                if self._listens and self._n_sounds % 3 == 0:
                    await self._respond({"instructions": "I listen"})
            case "response.create":
                await self._respond(event.get("response") or {})
            case "response.cancel":
                for id_, tokens in self._open.items():
                    await self._say(done(tokens, id_, status="cancelled"))
                self._open.clear()

    async def _respond(self, response: dict[str, Any]) -> None:
        self._n_responses += 1
        id_ = f"resp_{self._n_responses}"
        conversation = None if response.get("conversation") == "none" else "conv_1"
        words = response.get("instructions", self._instructions).split()
        await self._say(created(id_, conversation=conversation))
        for word in words:
            await self._say(delta(id_, word))
        if words and words[-1] == "…":
            self._open[id_] = len(words)
        else:
            await self._say(done(len(words), id_, conversation=conversation))

    async def _say(self, event: dict[str, Any]) -> None:
        await self._socket.send_json(event)


async def talk(socket: WebSocket) -> None:
    offered = socket.scope["subprotocols"]
    await socket.accept(subprotocol="realtime" if "realtime" in offered else None)
    await socket.send_json(of_session("created"))
    conversation = Conversation(socket)
    try:
        while True:
            message = await socket.receive()
            await conversation.take(json.loads(message.get("text") or message["bytes"]))
    except (WebSocketDisconnect, KeyError):
        return


async def health(_: object) -> PlainTextResponse:
    return PlainTextResponse("here")


PATHS = ("/v1/realtime", "/openai/realtime", "/openai/v1/realtime")
routes = [*[WebSocketRoute(path, talk) for path in PATHS], Route("/", health)]
app = BudgetMiddleware(Starlette(routes=routes))
