"""A running worker, and what a client can do with it."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from budget_middleware.apis.openai.chat import OpenAIChat
from tests.e2e.servers import REPOSITORY, ServerProcess, server_process, wait_for_socket

# Whole micro-dollars: an input token costs 1, an output token 10.
PRICES = '[models."test-model"]\ninput = 1\noutput = 10\n'
INPUT_NANOS, OUTPUT_NANOS = 1_000, 10_000
USD = 1_000_000_000


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error_code(self) -> str:
        return json.loads(self.body)["error"]["code"]


@dataclass(frozen=True)
class Gateway:
    """One uvicorn worker behind a unix socket."""

    socket: Path
    process: ServerProcess
    log: Path
    served_log: Path

    async def ask(self, **options) -> Reply:
        """A request, and its whole answer."""
        async with self.open(**options) as (reply, reader):
            return Reply(reply.status, reply.headers, await reader.read())

    @asynccontextmanager
    async def open(self, **options) -> AsyncIterator[tuple[Reply, asyncio.StreamReader]]:
        """A request whose answer is read by the caller; leaving the block closes the connection."""
        key = options.pop("key", "a")
        body = json.dumps(request(**options)).encode()
        reader, writer = await asyncio.open_unix_connection(str(self.socket))
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer sk-{key}\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        writer.write(head.encode() + body)
        try:
            lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
            yield Reply(int(lines[0].split()[1]), headers, b""), reader
        finally:
            writer.close()

    def served(self) -> list[dict]:
        if not self.served_log.exists():
            return []
        return [json.loads(line) for line in self.served_log.read_text().splitlines()]


ServerCommand = Callable[[Path, int], list[str]]
"""The command line of a server, without Python's own, for a unix socket and so many seconds of grace."""


def uvicorn(socket: Path, grace_s: int, *, options: Sequence[str] = ()) -> list[str]:
    listen = ["--uds", str(socket), "--timeout-graceful-shutdown", str(grace_s), "--log-level", "warning"]
    return ["uvicorn", "tests.e2e.worker:app", *listen, *options]


@contextmanager
def running_gateway(
    folder: Path,
    settings: Mapping[str, str],
    *,
    within: Sequence[str] = (),
    command: ServerCommand = uvicorn,
    grace_s: int = 10,
    tree: Path = REPOSITORY,
) -> Iterator[Gateway]:
    """A worker of a server with these settings; ``within`` is a command that runs it elsewhere, ``tree`` its code."""
    number = len(list(folder.glob("*.log")))
    socket, log, served = (folder / f"{number}.{kind}" for kind in ("sock", "log", "served"))
    prices = folder / "prices.toml"
    prices.write_text(PRICES)
    env = {
        "BUDGET_PRICES": str(prices),
        "BUDGET_LIMITS": "key=1/day",
        "SERVED_LOG": str(served),
        **{f"BUDGET_{name.upper()}": value for name, value in settings.items()},
    }
    started = [*within, sys.executable, "-m", *command(socket, grace_s)]
    with server_process(started, env=env, log=log, tree=tree) as process:
        wait_for_socket(socket, process, log)
        try:
            yield Gateway(socket, process, log, served)
        finally:
            # A worker that a test has stopped could not be asked to end.
            process.send_signal(signal.SIGCONT)


def request(
    *,
    play: str = "json",
    words: int = 10,
    prompt: int = 10,
    max_tokens: int = 60_000,
    pause: float = 0.001,
    messages: Sequence[dict] = (),
    **metadata: object,
):
    """With the default maximum of output, the estimate is 0.60 USD and the input."""
    body = {
        "model": "test-model",
        "messages": list(messages),
        "max_tokens": max_tokens,
        "metadata": {"play": play, "words": words, "prompt": prompt, "pause": pause, **metadata},
    }
    return body | ({"stream": True} if play in ("stream", "break", "hang") else {})


def actual_nanos(*, words: int = 10, prompt: int = 10) -> int:
    """What a request costs that is served to its end."""
    return prompt * INPUT_NANOS + words * OUTPUT_NANOS


def seen_nanos(*, chunks: int) -> int:
    """What a stream costs that is cut off after so many chunks: the estimated input, and the output seen."""
    return (
        OpenAIChat().read_request(request(), path="", n_bytes=0).input.input_tokens * INPUT_NANOS
        + chunks * OUTPUT_NANOS
    )
