"""Limits how long the body of a request may be: by its announced length, else while it is read."""

from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from budget_middleware.admin.problems import problem_response

BODY_MAX_BYTES: Final = 4_000_000
"""Room for a limit with terms and a reason on each of 10,000 accounts."""


class BoundedBodies:
    """Answers 413 to a longer body. What has come until then is all that is kept of it."""

    def __init__(self, app: ASGIApp, *, max_bytes: int = BODY_MAX_BYTES) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif self._is_longer(Headers(scope=scope).get("content-length", "0")):
            await self._refuse(scope, receive, send)
        else:
            await self._pass_counted(scope, receive, send)

    def _is_longer(self, length: str) -> bool:
        # One that is no number is the server's to refuse; ours counts what comes.
        return length.isascii() and length.isdecimal() and (len(length) > 18 or int(length) > self._max_bytes)

    async def _pass_counted(self, scope: Scope, receive: Receive, send: Send) -> None:
        n_bytes = 0
        is_answered = False

        async def receive_counted() -> Message:
            nonlocal n_bytes
            message = await receive()
            n_bytes += len(message.get("body", b""))
            if n_bytes > self._max_bytes:
                raise _TooLongError
            return message

        async def send_watched(message: Message) -> None:
            nonlocal is_answered
            is_answered = True
            await send(message)

        try:
            await self._app(scope, receive_counted, send_watched)
        except _TooLongError:
            if not is_answered:
                await self._refuse(scope, receive, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        detail = f"a body of at most {self._max_bytes:,} bytes is accepted"
        await problem_response(413, detail, headers={"connection": "close"})(scope, receive, send)


class _TooLongError(BaseException):
    """No handler of the app's takes it for one of its own errors."""
