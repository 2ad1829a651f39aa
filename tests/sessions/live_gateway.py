"""A gateway that speaks Gemini Live by itself: each text with as many words, sound with three, in binary frames."""

import json
from typing import Any

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from budget_middleware import BudgetMiddleware
from tests.sessions.live import PATH, SETUP_COMPLETE, text, turn


async def converse(socket: WebSocket) -> None:
    await socket.accept()
    prompt = 0
    try:
        while True:
            message = await socket.receive()
            event = json.loads(message.get("text") or message["bytes"])
            for answer in _answers(event, prompt):
                await socket.send_bytes(json.dumps(answer).encode())
                prompt += answer.get("usageMetadata", {}).get("responseTokenCount", 0)
    except (WebSocketDisconnect, KeyError):
        return


def _answers(event: dict[str, Any], prompt: int) -> list[dict[str, Any]]:
    if "setup" in event:
        return [SETUP_COMPLETE]
    if "realtimeInput" in event or "realtime_input" in event:
        return turn(3, prompt=prompt)
    # Google's client writes it in snake case.
    words = (event.get("clientContent") or event["client_content"])["turns"][-1]["parts"][0]["text"].split()
    if words[-1] == "unfinished":
        return [text(word) for word in words]
    return [*map(text, words), *turn(len(words), prompt=prompt)[1:]]


async def health(_: object) -> PlainTextResponse:
    return PlainTextResponse("here")


paths = [PATH, PATH.replace("v1beta", "v1alpha") + "Constrained"]
routes = [*(WebSocketRoute(path, converse) for path in paths), Route("/", health)]
bare = Starlette(routes=routes)
app = BudgetMiddleware(bare)
