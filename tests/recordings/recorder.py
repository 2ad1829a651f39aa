"""Records what passes through an app: requests with their answers, and sessions."""

import base64
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tests.recordings.recording_files import scrubbed_headers, scrubbed_query, written


class Recorder:
    """Wraps an app; `exchanges` is what was said, scrubbed of credentials, since `take` was last called."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._exchanges: list[dict[str, Any]] = []

    def take(self) -> list[dict[str, Any]]:
        exchanges, self._exchanges = self._exchanges, []
        return exchanges

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match scope["type"]:
            case "http":
                await self._record_request(scope, receive, send)
            case "websocket":
                await self._record_session(scope, receive, send)
            case _:
                await self._app(scope, receive, send)

    async def _record_request(self, scope: Scope, receive: Receive, send: Send) -> None:
        response: dict[str, Any] = {"status": 0, "headers": {}, "body": []}
        # Whole, whether or not the provider looks at it.
        messages = [await receive()]
        while messages[-1].get("more_body"):
            messages.append(await receive())
        unread = iter(messages)

        async def receive_again() -> Message:
            return next(unread, None) or await receive()

        async def keep_and_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                response.update(status=message["status"], headers=scrubbed_headers(message["headers"]))
            elif message.get("body"):
                response["body"].append(written(bytes(message["body"])))
            await send(message)

        await self._app(scope, receive_again, keep_and_send)
        body = b"".join(message.get("body", b"") for message in messages)
        request = {"method": scope["method"], **_address(scope), "body": written(body)}
        self._exchanges.append({"request": request, "response": response})

    async def _record_session(self, scope: Scope, receive: Receive, send: Send) -> None:
        events: list[list[Any]] = []
        self._exchanges.append({"session": {**_address(scope), "events": events}})

        async def receive_and_keep() -> Message:
            message = await receive()
            if message["type"] == "websocket.receive":
                events.append(["client", _event(message)])
            return message

        async def keep_and_send(message: Message) -> None:
            if message["type"] == "websocket.send":
                events.append(["server", _event(message)])
            await send(message)

        await self._app(scope, receive_and_keep, keep_and_send)


def _address(scope: Scope) -> dict[str, Any]:
    path, query = scope["path"], scrubbed_query(scope["query_string"])
    return {"path": path, "query": query, "headers": scrubbed_headers(scope["headers"])}


def _event(message: Message) -> Any:
    text = message.get("text")
    # A binary frame stays one.
    return text if text is not None else {"base64": base64.b64encode(bytes(message["bytes"])).decode()}
