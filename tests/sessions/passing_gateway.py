"""A gateway that passes each responses' session on to another one, with its headers, and gives back what comes."""

import asyncio
import os

from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from budget_middleware import BudgetMiddleware

UPSTREAM = os.environ.get("UPSTREAM", "")
_OF_THE_HOP = ("host", "connection", "upgrade", "user-agent")


async def pass_on(socket: WebSocket) -> None:
    headers = {
        name: value
        for name, value in socket.headers.items()
        if name not in _OF_THE_HOP and not name.startswith("sec-websocket")
    }
    async with connect(f"ws://{UPSTREAM}{socket.url.path}", additional_headers=headers) as upstream:
        await socket.accept()
        asking = asyncio.create_task(_ask(socket, upstream))
        try:
            async for data in upstream:
                await (socket.send_text(data) if isinstance(data, str) else socket.send_bytes(data))
        finally:
            asking.cancel()


async def _ask(socket: WebSocket, upstream: ClientConnection) -> None:
    try:
        while True:
            message = await socket.receive()
            await upstream.send(message["text"] if message.get("text") is not None else message["bytes"])
    except (KeyError, WebSocketDisconnect, ConnectionClosed):
        await upstream.close()


app = BudgetMiddleware(Starlette(routes=[WebSocketRoute("/v1/responses", pass_on)]))
