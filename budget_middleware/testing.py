"""For tests of gateways behind the middleware, and for our own. Nothing here sleeps.

`MovableClock` is a clock that moves only when a test moves it, `ScriptedApp` an ASGI app that answers as its
script says, `PlayedRequest` the server and the client of one request.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Self

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class MovableClock:
    """A clock for `MemoryStore(clock_ms=...)`: calling it returns milliseconds since the Unix epoch.

    It starts in the middle of an hour, day, week and month in UTC, so that no window turns by accident.
    """

    def __init__(self, now_ms: int = 1_795_012_200_000) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        return self.now_ms

    def advance(self, *, s: int = 0, ms: int = 0) -> None:
        """Let time pass; a negative duration is a step back."""
        self.now_ms += 1000 * s + ms

    def move_to(self, time_ms: int) -> None:
        self.now_ms = time_ms


class Gate:
    """A barrier: callers wait until the test opens it, and the test can wait for callers to arrive."""

    def __init__(self) -> None:
        self._is_open = asyncio.Event()
        self._arrivals = asyncio.Semaphore(0)

    async def wait(self) -> None:
        self._arrivals.release()
        await self._is_open.wait()

    async def reached(self, times: int = 1) -> None:
        """Wait until so many more have come."""
        for _ in range(times):
            await self._arrivals.acquire()

    def open(self) -> None:
        self._is_open.set()


Step = Message | Gate | BaseException | Callable[[Receive, Send], Awaitable[None]]
"""A message to send, a gate to wait at, an exception to raise, or an async function to call."""


class ScriptedApp:
    """An ASGI app that reads its request and then plays its script, for every request.

    `scopes` and `bodies` are the requests that reached it.
    """

    def __init__(self, *script: Step) -> None:
        self.script: Sequence[Step] = script
        self.scopes: list[Scope] = []
        self.bodies: list[bytes] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        self.bodies.append(await _read_body(receive))
        for step in self.script:
            match step:
                case Gate():
                    await step.wait()
                case BaseException():
                    raise step
                case Mapping():
                    await send(step)
                case _:
                    await step(receive, send)


async def client_gone(receive: Receive, _: Send) -> None:
    """A step: wait until the client has gone, as apps do that listen for it."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _read_body(receive: Receive) -> bytes:
    body = b""
    while (message := await receive())["type"] == "http.request":
        body += message.get("body", b"")
        if not message.get("more_body", False):
            break
    return body


def start(status: int = 200, *, content_type: str = "application/json", **headers: str) -> Message:
    """The start of an answer; `_` in the name of a header stands for `-`."""
    others = {name.replace("_", "-"): value for name, value in headers.items()}
    raw = _raw_headers({"content-type": content_type, **others})
    return {"type": "http.response.start", "status": status, "headers": raw}


def chunk(body: bytes = b"", *, is_last: bool = False) -> Message:
    """A part of an answer's body."""
    return {"type": "http.response.body", "body": body, "more_body": not is_last}


def json_answer(document: object, *, status: int = 200, **headers: str) -> tuple[Message, Message]:
    """A whole answer whose body is one message."""
    return start(status, **headers), chunk(json.dumps(document).encode(), is_last=True)


def event(data: object) -> Message:
    """A server-sent event as a message of its own; text is sent as it is, all else as JSON."""
    text = data if isinstance(data, str) else json.dumps(data, separators=(",", ":"))
    return chunk(f"data: {text}\n\n".encode())


def event_stream(*events: object) -> tuple[Message, ...]:
    """A whole stream of server-sent events, one a message."""
    return start(content_type="text/event-stream"), *map(event, events), chunk(is_last=True)


class PlayedRequest:
    """One request as a server and its client play it. `messages` grows while the app answers.

    A body in bytes is sent in one message, a list of bytes in one each without `content-length`, anything
    else as JSON. The client leaves after so many messages: with `leaves_after` the app learns of it through
    `receive`, with `breaks_after` through OSError from every `send` after these. A message that ASGI forbids
    raises RuntimeError.
    """

    def __init__(
        self,
        body: object = b"",
        *,
        method: str = "POST",
        path: str = "/v1/chat/completions",
        headers: Mapping[str, str] | Sequence[tuple[bytes, bytes]] = (),
        scope: Mapping[str, Any] | None = None,
        leaves_after: int | None = None,
        breaks_after: int | None = None,
    ) -> None:
        self.messages: list[Message] = []
        self.raised: BaseException | None = None
        self._parts = body if isinstance(body, list) else [_as_bytes(body)]
        self._n_received = 0
        self._leaves_after = leaves_after
        self._breaks_after = breaks_after
        self._is_over = asyncio.Event()
        raw = _raw_headers(headers) if isinstance(headers, Mapping) else list(headers)
        length = [] if isinstance(body, list) else [(b"content-length", str(len(self._parts[0])).encode())]
        self.scope: Scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": b"",
            "headers": [*raw, *length],
            "client": ("127.0.0.1", 50_000),
            "server": ("127.0.0.1", 8_000),
            **(scope or {}),
        }

    async def run(self, app: ASGIApp) -> Self:
        """Play the request to its end. What the app raises is kept in `raised`."""
        if self._leaves_after == 0:
            self._is_over.set()
        try:
            await app(self.scope, self._receive, self._send)
        except BaseException as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():  # The canceller must see this task cancelled.
                raise
            self.raised = error
        return self

    @property
    def status(self) -> int:
        """The status of the answer; 0 while none has begun."""
        return int(self.messages[0]["status"]) if self.messages else 0

    @property
    def headers(self) -> dict[str, str]:
        """The answer's headers by lower-case name."""
        if not self.messages:
            return {}
        raw = self.messages[0]["headers"]
        return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in raw}

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.messages)

    @property
    def is_complete(self) -> bool:
        """Whether the app has sent everything that belongs to the answer."""
        if not self.messages:
            return False
        last = self.messages[-1]
        if last["type"] == "http.response.trailers":
            return not last.get("more_trailers", False)
        is_body = last["type"] != "http.response.start" and not last.get("more_body", False)
        return is_body and not self.messages[0].get("trailers", False)

    def json(self) -> Any:
        """The answer's body as JSON."""
        return json.loads(self.body)

    async def _receive(self) -> Message:
        if self._n_received < len(self._parts):
            self._n_received += 1
            has_more = self._n_received < len(self._parts)
            return {"type": "http.request", "body": self._parts[self._n_received - 1], "more_body": has_more}
        await self._is_over.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if self._breaks_after is not None and len(self.messages) >= self._breaks_after:
            self._is_over.set()
            raise OSError("the client has gone")
        if not self._allows(message):
            raise RuntimeError(f"{message['type']} after {len(self.messages)} messages")
        self.messages.append(message)
        if self.is_complete or len(self.messages) == self._leaves_after:
            self._is_over.set()

    def _allows(self, message: Message) -> bool:
        """ASGI: one start, then the body, and nothing after its end."""
        is_start = message["type"] == "http.response.start"
        return is_start != bool(self.messages) and not self.is_complete


async def call(app: ASGIApp, body: object = b"", **options: Any) -> PlayedRequest:
    """Play one request to its end; options are those of `PlayedRequest`."""
    return await PlayedRequest(body, **options).run(app)


def _as_bytes(body: object) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body).encode()


def _raw_headers(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
