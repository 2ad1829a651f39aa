"""The bytes that a store sends for one pair of calls, to be sent again for others: `saturation` runs it by its path.

`python recorded_verbs.py PORT TOGETHER` makes so many reservations on three accounts at once and finalizes them,
through a proxy that sees both calls, and prints them as JSON. Where an id of a reservation stood there is a gap.
"""

import asyncio
import json
import re
import sys
from collections.abc import Sequence
from typing import NamedTuple

from benchmarks.verbs import reserve_and_finalize, store_at, targets
from benchmarks.workers import Process

NAMESPACE = "saturation"
_WARM_UP = 20
_TRIES = 20
_SCRIPTS = frozenset({b"EVALSHA", b"FCALL"})
_ID = re.compile(rb"[0-9a-f]{32}")


class Call(NamedTuple):
    """A command, cut at its ids: the texts between them, and which id stands in each gap."""

    texts: Sequence[str]
    gaps: Sequence[int]


class Recorder:
    """A proxy in front of the server at ``port``, which keeps what clients sent."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.sent = bytearray()

    async def relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server = await asyncio.open_connection("127.0.0.1", self._port)
        replies = asyncio.create_task(_copy(server_reader, writer))
        while some := await reader.read(1 << 16):
            self.sent += some
            server.write(some)
        replies.cancel()
        server.close()
        writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while some := await reader.read(1 << 16):
        writer.write(some)


async def main() -> None:
    """Record until two calls did it all: nothing else was asked, and nothing went in parts."""
    port, together = map(int, sys.argv[1:])
    recorder = Recorder(port)
    async with await asyncio.start_server(recorder.relay, "127.0.0.1", 0) as proxy:
        here = Process(proxy.sockets[0].getsockname()[1], 0)
        async with store_at(here, namespace=NAMESPACE) as store:
            held = targets(3)
            for number in range(_WARM_UP + _TRIES):
                recorder.sent.clear()
                await asyncio.gather(*(reserve_and_finalize(store, held) for _ in range(together)))
                commands = _commands(bytes(recorder.sent))
                scripts = [command for command in commands if command[0] in _SCRIPTS]
                if number >= _WARM_UP and len(scripts) == len(commands) == 2:
                    print(json.dumps({"calls": _calls(scripts, together), "pairs_before": (number + 1) * together}))
                    return
    sys.exit("a pair of verbs did not go in two calls: the figures would mean nothing")


def _commands(sent: bytes) -> list[list[bytes]]:
    commands, at = list[list[bytes]](), 0

    def number() -> int:
        nonlocal at
        end = sent.index(b"\r\n", at)
        found, at = int(sent[at + 1 : end]), end + 2
        return found

    while at < len(sent):
        words = []
        for _ in range(number()):
            length = number()
            words.append(sent[at : at + length])
            at += length + 2
        commands.append(words)
    return commands


def _calls(commands: Sequence[Sequence[bytes]], together: int) -> list[Call]:
    first, last = ({word for word in words if _ID.fullmatch(word)} for words in commands)
    ids = sorted(first & last)
    if len(ids) != together:
        sys.exit(f"{len(ids)} ids were found in place of {together}: the figures would mean nothing")
    # An id is replaced by others of its length, so that every length that was sent stays right.
    cut = re.compile(b"(" + b"|".join(ids) + b")")
    calls = []
    for words in commands:
        packed = b"".join([b"*%d\r\n" % len(words), *(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)])
        parts = cut.split(packed)
        calls.append(Call([text.decode() for text in parts[::2]], [ids.index(found) for found in parts[1::2]]))
    return calls


if __name__ == "__main__":
    asyncio.run(main())
