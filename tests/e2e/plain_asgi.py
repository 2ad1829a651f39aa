"""What the apps of test gateways have in common, spoken in plain ASGI: their lifespan, and an answer in JSON."""

import json

from starlette.types import Receive, Send


async def live(receive: Receive, send: Send) -> None:
    """Start and shut down with the server."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def answer(send: Send, document: object, *, status: int = 200) -> None:
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(document).encode()})
