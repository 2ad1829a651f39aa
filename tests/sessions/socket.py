"""A WebSocket within this process: a client on one side, an app on the other, the guard between them."""

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

from budget_middleware import BudgetMiddleware
from budget_middleware.stores.memory.store import MemoryStore

PATH = "/v1/responses"


class Socket:
    """What the client sends and has received; `app` is asked for each event that reaches it.

    The app answers an event with the events that it returns, in order.
    """

    def __init__(
        self, guard: BudgetMiddleware, *, token: str = "sk-one", path: str = PATH, query: bytes = b"", **headers: str
    ) -> None:
        named = {"authorization": f"Bearer {token}", **headers}
        self.scope = {
            "type": "websocket",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query,
            "headers": [(name.encode(), value.encode()) for name, value in named.items()],
            "extensions": {"websocket.http.response": {}},
        }
        self.sent: list[Any] = []
        # Whether the connection is lost, as a server notices when it sends.
        self.breaks = False
        self.to_app: asyncio.Queue[Any] = asyncio.Queue()
        self._from_app: asyncio.Queue[Any] = asyncio.Queue()
        self.to_app.put_nowait({"type": "websocket.connect"})
        self.task = asyncio.create_task(guard(self.scope, self.to_app.get, self._take))

    async def _take(self, message: Any) -> None:
        if self.breaks:
            raise ConnectionResetError("the client has left")
        self.sent.append(message)
        await self._from_app.put(message)

    async def message(self) -> Any:
        """The next message to the client, or what the app raised."""
        waiting = asyncio.ensure_future(self._from_app.get())
        await asyncio.wait((waiting, self.task), return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done() and self._from_app.empty():
            waiting.cancel()
            self.task.result()
            raise AssertionError("the session is over, and has sent nothing more")
        return await waiting

    async def event(self) -> Any:
        """The next event to the client."""
        message = await self.message()
        return json.loads(message["text"] if message.get("text") is not None else message["bytes"])

    async def until(self, kind: str) -> list[Any]:
        """The events up to the first of a type."""
        events = [await self.event()]
        while events[-1]["type"] != kind:
            events.append(await self.event())
        return events

    def send(self, event: Mapping[str, Any] | str | bytes) -> None:
        text = event if isinstance(event, str | bytes) else json.dumps(event)
        kind = "bytes" if isinstance(text, bytes) else "text"
        self.to_app.put_nowait({"type": "websocket.receive", kind: text})

    async def leave(self) -> None:
        self.to_app.put_nowait({"type": "websocket.disconnect", "code": 1001})
        await asyncio.wait((self.task,))


class ScriptedProvider:
    """An app that accepts, and answers each event with what its script says; it keeps what it was sent."""

    def __init__(self, answer: Callable[[dict[str, Any]], list[Any]]) -> None:
        self.received: list[Any] = []
        self.answer = answer
        self.send: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.send = send
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            event = json.loads(message["text"] if message.get("text") is not None else message["bytes"])
            self.received.append(event)
            for each in self.answer(event):
                await send({"type": "websocket.send", "text": json.dumps(each)})


async def opened(guard: BudgetMiddleware, **named: Any) -> Socket:
    socket = Socket(guard, **named)
    assert (await socket.message())["type"] == "websocket.accept"
    return socket


def guard_of(app: Any, prices: str, store: MemoryStore, **settings: str) -> BudgetMiddleware:
    named: dict[str, Any] = {"prices": prices, "limits": "key=1/day", "unknown_model": "reject", **settings}
    return BudgetMiddleware(app, store=store, **named)
