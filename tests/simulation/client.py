"""Clients, and the server that carries their requests; every point where a request's task waits is told."""

import asyncio
import json
from collections.abc import Callable, Coroutine, Generator
from typing import Any

from starlette.types import ASGIApp, Message, Scope

from tests.simulation.plan import MAX_TOKENS, Client, Play, Request

PROMPT = "count to ten, please"


def token_of(key: int) -> str:
    return f"sk-{key}"


def body_of(request: Request) -> dict[str, Any]:
    body = {
        "model": "simulated",
        "messages": [{"role": "user", "content": PROMPT}],
        "max_tokens": MAX_TOKENS,
        "metadata": {"number": request.number},
    }
    return body if request.play is Play.JSON else {**body, "stream": True}


class Connection:
    """One request as its server sees it. ``waits`` counts the points at which its task has waited so far."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.status = 0
        self.waits = 0
        self.task: asyncio.Task[Any] | None = None
        self._is_read = False
        self._is_over = asyncio.Event()
        self._messages = 0

    async def carry(self, app: ASGIApp, on_wait: Callable[["Connection"], None] | None = None) -> None:
        """Run the request to its end; the app's own exceptions are the server's to swallow."""
        request, self.task = self.request, asyncio.current_task()
        if request.client is Client.LEAVES and request.patience == 0:
            self.leave()
        if request.client in (Client.CANCELS, Client.CANCELS_ON):
            asyncio.get_running_loop().call_later(request.patience / 1000, self.cancel)
        work = app(self._scope(), self._receive, self._send)
        try:
            await _Followed(work, lambda: self._waits(on_wait))  # type: ignore[arg-type]
        except (RuntimeError, OSError):
            return

    def leave(self) -> None:
        """The client has gone: whoever listens is told so."""
        self._is_over.set()

    def cancel(self) -> None:
        if self.task is not None:
            self.task.cancel()

    def _waits(self, on_wait: Callable[["Connection"], None] | None) -> None:
        self.waits += 1
        if self.request.client is Client.CANCELS_ON and self.task is not None and self.task.cancelling():
            asyncio.get_running_loop().call_soon(self.cancel)
        if on_wait is not None:
            on_wait(self)

    async def _receive(self) -> Message:
        # A server has sockets to wait for; so each message is a point where the task may be cancelled.
        await asyncio.sleep(0)
        if not self._is_read:
            self._is_read = True
            return {"type": "http.request", "body": json.dumps(body_of(self.request)).encode()}
        await self._is_over.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        await asyncio.sleep(0)
        if self.request.client is Client.BREAKS and self._messages >= self.request.patience:
            self.leave()
            raise OSError("the client has gone")
        self._messages += 1
        if message["type"] == "http.response.start":
            self.status = message["status"]
        is_last = message["type"] == "http.response.body" and not message.get("more_body")
        if is_last or (self.request.client is Client.LEAVES and self._messages == self.request.patience):
            self.leave()

    def _scope(self) -> Scope:
        token = token_of(self.request.key).encode()
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": "/v1/chat/completions",
            "raw_path": b"/v1/chat/completions",
            "root_path": "",
            "query_string": b"",
            "headers": [(b"authorization", b"Bearer " + token), (b"content-type", b"application/json")],
        }


class Lifespan:
    """A server's side of an app's life, from its start-up to its shutdown."""

    def __init__(self) -> None:
        self._is_over = asyncio.Event()
        self._is_started = False

    def end(self) -> None:
        self._is_over.set()

    async def carry(self, app: ASGIApp) -> None:
        await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, self._receive, self._send)

    async def _receive(self) -> Message:
        if not self._is_started:
            self._is_started = True
            return {"type": "lifespan.startup"}
        await self._is_over.wait()
        return {"type": "lifespan.shutdown"}

    async def _send(self, message: Message) -> None:
        assert message["type"] in ("lifespan.startup.complete", "lifespan.shutdown.complete"), message


class _Followed:
    """Drives a coroutine within the current task, and tells each point where it waits."""

    def __init__(self, work: Coroutine[Any, Any, Any], on_wait: Callable[[], None]) -> None:
        self._work = work
        self._on_wait = on_wait

    def __await__(self) -> Generator[Any, Any, Any]:
        resume: Any = self._work.send
        given: Any = None
        while True:
            try:
                awaited = resume(given)
            except StopIteration as done:
                return done.value
            self._on_wait()
            try:
                given, resume = (yield awaited), self._work.send
            except BaseException as error:  # noqa: BLE001 - it belongs to the work
                given, resume = error, self._work.throw
