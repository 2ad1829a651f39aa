"""A real receiver over HTTP: it takes what it is sent, and answers as its script says."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

HANG = "hang"
CUT = "cut"
"""In place of an answer: none at all, or the connection is closed once all was read."""

OK = "204 No Content"


@dataclass
class Taken:
    """One POST as it came."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found


@dataclass
class ReceiverServer:
    """``script`` has the answers to the next POSTs: a status line, with headers behind it, HANG or CUT; then OK."""

    port: int = 0
    script: list[str] = field(default_factory=list)
    taken: list[Taken] = field(default_factory=list)
    answer: str = OK
    _held: list[asyncio.StreamWriter] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?a=b"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
        except asyncio.IncompleteReadError:
            writer.close()
            return
        first, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        body = await reader.readexactly(int(headers["content-length"]))
        self.taken.append(Taken(first.split(" ")[1], headers, body))
        answer = self.script.pop(0) if self.script else self.answer
        if answer == HANG:
            self._held.append(writer)
            return
        if answer != CUT:
            writer.write(f"HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n".encode())
            await writer.drain()
        writer.close()

    def let_go(self) -> None:
        for writer in self._held:
            writer.close()


@asynccontextmanager
async def receiving() -> AsyncIterator[ReceiverServer]:
    receiver = ReceiverServer()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        receiver.let_go()
        server.close()
