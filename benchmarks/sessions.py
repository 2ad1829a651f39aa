"""What an open WebSocket costs a worker, idle and with a call under way: `python -m benchmarks sessions`."""

import argparse
import asyncio
import json
import resource
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass

import websockets

from benchmarks.results import keep, machine, told
from benchmarks.tables import table
from benchmarks.workers import Process, worker

_CREATE = json.dumps({"type": "response.create", "model": "gpt-4o-mini", "input": "hello", "max_output_tokens": 100})
_OPENED_AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one session: KiB of the worker's memory, and its CPU time in microseconds a second."""

    app: str
    idle_kib: float
    idle_cpu_us: float
    asked_kib: float
    asked_cpu_us: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sessions", type=int, default=2_000, help="open at once (default 2000)")
    parser.add_argument("--seconds", type=float, default=15.0, help="watched idle, and with calls (default 15)")


def run(options: argparse.Namespace) -> None:
    """Open them on the bare app and on the guarded one, and print what one takes."""
    print(told(machine()))
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    figures = []
    for name in ("bare", "guarded"):
        with worker(f"benchmarks.session_apps:{name}", environment={}) as process:
            figures.append(asyncio.run(_measure(process, name, options.sessions, options.seconds)))
    print(f"\n{tell(figures)}")
    keep("sessions", [asdict(each) for each in figures], options={"sessions": options.sessions})


def tell(figures: list[Figures]) -> str:
    """A row for each app."""
    head = ["a session", "idle KiB", "CPU us/s", "with a call KiB", "CPU us/s"]
    return table(head, [[*asdict(each).values()] for each in figures])


async def _measure(process: Process, name: str, count: int, seconds: float) -> Figures:
    before = process.resident_bytes()
    async with AsyncExitStack() as stack:
        sessions: list[websockets.ClientConnection] = []

        async def open_one(number: int) -> None:
            headers = {"authorization": f"Bearer sk-{number}"}
            address = f"ws://127.0.0.1:{process.port}/v1/responses"
            connecting = websockets.connect(address, additional_headers=headers, ping_interval=None, compression=None)
            sessions.append(await stack.enter_async_context(connecting))

        await _in_turns(open_one, count)
        idle, idle_cpu_us = process.resident_bytes(), await _cpu_us(process, seconds)

        async def ask(number: int) -> None:
            await sessions[number].send(_CREATE)
            await sessions[number].recv()

        await _in_turns(ask, count)
        asked, asked_cpu_us = process.resident_bytes(), await _cpu_us(process, seconds)
    return Figures(
        name,
        (idle - before) / count / 1024,
        idle_cpu_us / count,
        (asked - before) / count / 1024,
        asked_cpu_us / count,
    )


async def _in_turns(do: Callable[[int], Awaitable[None]], count: int) -> None:
    for first in range(0, count, _OPENED_AT_ONCE):
        await asyncio.gather(*map(do, range(first, min(first + _OPENED_AT_ONCE, count))))


async def _cpu_us(process: Process, seconds: float) -> float:
    """CPU time a second."""
    before = process.cpu_s()
    await asyncio.sleep(seconds)
    return (process.cpu_s() - before) / seconds * 1e6
