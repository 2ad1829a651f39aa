"""The bundled load client: `python -m benchmarks.client PORT CONNECTIONS SECONDS`, the request as JSON on stdin."""

import asyncio
import json
import secrets
import sys
import time
from dataclasses import asdict

from benchmarks.answers import PATH, Ask
from benchmarks.load import Load


def encode(ask: Ask) -> bytes:
    """The request as bytes on a connection that is kept."""
    headers = {"Host": "bench", "Content-Length": str(len(ask.body)), **ask.headers}
    if ask.is_of_many_keys:
        headers["Authorization"] = f"Bearer sk-{secrets.randbelow(10**9)}"
    lines = [f"POST {PATH} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n" + ask.body).encode()


async def read_answer(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """The head in lower case, and the body, in chunks or of a known length."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    if b"transfer-encoding: chunked" in head:
        return head, await reader.readuntil(b"\r\n0\r\n\r\n")
    length = head.partition(b"content-length: ")[2].partition(b"\r\n")[0]
    return head, await reader.readexactly(int(length or b"0"))


async def _run(ask: Ask, *, port: int, connections: int, seconds: float) -> Load:
    request = encode(ask)
    latencies_s: list[float] = []
    until = time.perf_counter() + seconds

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
        while time.perf_counter() < until:
            started = time.perf_counter()
            writer.write(encode(ask) if ask.is_of_many_keys else request)
            head, _ = await read_answer(reader)
            if not head.startswith(b"http/1.1 200"):
                sys.exit(f"an answer was no 200: {head[:60]!r}")
            latencies_s.append(time.perf_counter() - started)
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(connections)))
    took_s = time.perf_counter() - began
    latencies_s.sort()
    count = len(latencies_s)
    return Load(count / took_s, latencies_s[count // 2], latencies_s[count * 99 // 100], count)


if __name__ == "__main__":
    found = _run(
        Ask(**json.load(sys.stdin)), port=int(sys.argv[1]), connections=int(sys.argv[2]), seconds=float(sys.argv[3])
    )
    print(json.dumps(asdict(asyncio.run(found))))
