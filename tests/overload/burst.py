"""Workers whose budget is 50 calls, and a client that sends thousands of requests in one moment."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.servers import free_port, uvicorn_worker, wait_for_port

PRICES = "[models.m]\ninput = 0\noutput = 10\n"
CALL_NANOS = 2_000_000
BUDGET_NANOS = 50 * CALL_NANOS
CONNECTING = 500
"""Connections that are being opened at once: fewer than a server's backlog."""


@dataclass
class Outcome:
    """How often which status came, and how many of the answers were unprotected."""

    statuses: Counter[int] = field(default_factory=Counter)
    unprotected: int = 0


@contextmanager
def workers(
    folder: Path, settings: Mapping[str, str], *, n_workers: int = 1, loop: str = "asyncio", cpu_ms: float = 0
) -> Iterator[list[int]]:
    """The ports of so many uvicorn processes with these settings."""
    prices = folder / "prices.toml"
    prices.write_text(PRICES)
    env = {
        "BUDGET_PRICES": str(prices),
        "BUDGET_LIMITS": "key=0.10/day",
        # A machine so loaded that a worker misses its heartbeats for a minute gives its holds back: no matter here.
        "BUDGET_LEASE_S": "360",
        "CPU_MS": str(cpu_ms),
        **{f"BUDGET_{name.upper()}": value for name, value in settings.items()},
    }
    ports = [free_port() for _ in range(n_workers)]
    with ExitStack() as stack:
        for port in ports:
            log = folder / f"{port}.log"
            listen = ["--port", str(port), "--loop", loop, "--backlog", "4096", "--timeout-graceful-shutdown", "5"]
            process = stack.enter_context(
                uvicorn_worker("tests.overload.overloaded_gateway:app", listen=listen, env=env, log=log)
            )
            wait_for_port(port, process, log)
        yield ports


async def burst(ports: Sequence[int], n_requests: int, *, key: str = "a") -> Outcome:
    """Open all connections, send a request on each of them in one moment, and count the answers."""
    connecting = asyncio.Semaphore(CONNECTING)

    async def connect(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        async with connecting:
            return await asyncio.open_connection("127.0.0.1", port)

    connections = await asyncio.gather(*(connect(ports[number % len(ports)]) for number in range(n_requests)))
    outcome = Outcome()
    raw = _request(key)
    for _, writer in connections:
        writer.write(raw)
    await asyncio.gather(*(_count_answer(reader, writer, outcome) for reader, writer in connections))
    return outcome


async def ask(port: int, *, key: str = "a") -> Outcome:
    """One request."""
    return await burst([port], 1, key=key)


def _request(key: str) -> bytes:
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x"}], "max_tokens": 200}).encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\ncontent-type: application/json\r\n"
        f"authorization: Bearer sk-{key}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body


async def _count_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, outcome: Outcome) -> None:
    answer = await reader.read()
    writer.close()
    head = answer.partition(b"\r\n\r\n")[0].lower()
    outcome.statuses[int(head.split()[1]) if head else 0] += 1
    outcome.unprotected += b"x-budget-unprotected" in head
