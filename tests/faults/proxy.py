"""A proxy between worker and server that loses, delays and cuts what a test names, command by command.

A command is named by its verbs (``reserve``, ``finalize`` …: one call of a script may do several), else by its first
word. It speaks just enough of the protocol to know where a command and its reply end.
"""

import asyncio
from collections import Counter as Tally
from collections import defaultdict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

# Behind the keys of a script call stand the constants of its ledger, one word with spaces (once a word each), a token,
# and the number of its verbs.
_CONSTANTS, _CONSTANTS_ONCE = 1, 7


class Fault(Enum):
    """What happens to one command."""

    LOSE_REQUEST = auto()  # The server never sees it; the connection is cut.
    LOSE_REPLY = auto()  # The server applies it; the connection is cut before its reply.
    SWALLOW = auto()  # The server never sees it, nor what follows on its connection, and nobody says so.
    DUPLICATE = auto()  # The server sees it twice; the client hears the first reply.
    DELAY = auto()  # It waits at the gate, and is applied when that opens, even if the client has gone.


class FaultProxy:
    """Listens at ``path``; ``plan`` faults for the next commands of a verb, ``cut`` for everything."""

    def __init__(self, server: Path, path: Path) -> None:
        self._server = server
        self.path = path
        self.gate = asyncio.Event()
        self.seen: Tally[str] = Tally()
        self.applied: Tally[str] = Tally()
        self._plans: defaultdict[str, deque[Fault]] = defaultdict(deque)
        self._always: dict[str, Fault] = {}
        self._connections: set[asyncio.Task[None]] = set()
        self._delay_s = 0.0
        self._is_cut = False

    @property
    def url(self) -> str:
        return f"unix://{self.path}"

    def plan(self, verb: str, *faults: Fault) -> None:
        """The next commands with this verb meet these faults, one each."""
        self._plans[verb].extend(faults)

    def always(self, verb: str, fault: Fault | None) -> None:
        """Every command with this verb meets the fault; None ends that."""
        if fault is None:
            self._always.pop(verb, None)
        else:
            self._always[verb] = fault

    def cut(self) -> None:
        """The network is down: connections break, and new ones are refused."""
        self._is_cut = True
        for task in self._connections:
            task.cancel()

    def mend(self) -> None:
        self._is_cut = False

    def lead_to(self, server: Path) -> None:
        """From now on new connections reach this one."""
        self._server = server

    def slow_down(self, delay_s: float) -> None:
        """Every command is this much longer on its way."""
        self._delay_s = delay_s

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            if not self._is_cut:
                await self._relay(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._connections.discard(task)
            writer.close()

    def _fault(self, verbs: list[str]) -> Fault | None:
        """What is planned for the first of them for which anything is; the others share its fate."""
        for verb in verbs:
            if self._plans[verb]:
                return self._plans[verb].popleft()
            if verb in self._always:
                return self._always[verb]
        return None

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream = await asyncio.open_unix_connection(str(self._server))
        # Read apart: a slow network delays all that is on its way at once, not one command after the other.
        arrived: asyncio.Queue[_Arrived | None] = asyncio.Queue()
        reading = asyncio.create_task(_read_all(reader, arrived))
        try:
            while command := await arrived.get():
                verbs = _verbs(command.words)
                self.seen.update(verbs)
                fault = self._fault(verbs)
                if fault is Fault.LOSE_REQUEST:
                    return
                if fault is Fault.SWALLOW:
                    while await arrived.get():
                        """Until the client has gone."""
                    return
                if fault is Fault.DELAY:
                    await self.gate.wait()
                await asyncio.sleep(command.at_s + self._delay_s - asyncio.get_running_loop().time())
                upstream.write(command.raw)
                reply = await _read_reply(upstream_reader)
                self.applied.update(verbs)
                if fault is Fault.DUPLICATE:
                    upstream.write(command.raw)
                    await _read_reply(upstream_reader)
                if fault is Fault.LOSE_REPLY:
                    return
                writer.write(reply)
                await writer.drain()
        finally:
            reading.cancel()
            upstream.close()


def _verbs(words: list[bytes]) -> list[str]:
    command = words[0].decode().lower()
    if command not in ("eval", "evalsha", "fcall"):
        return [command]
    constants_at = 3 + int(words[2])
    count_at = constants_at + 1 + (_CONSTANTS if b" " in words[constants_at] else _CONSTANTS_ONCE)
    verbs, at = list[str](), count_at + 1
    for _ in range(int(words[count_at])):
        # How many words, with its name and its settings in the same word; an older version has each in its own.
        count, _, rest = words[at].decode().partition(" ")
        verbs.append(rest.split()[0] if rest else words[at + 1].decode())
        at += int(count) + (not rest)
    return verbs


@asynccontextmanager
async def fault_proxy(server: Path, path: Path) -> AsyncIterator[FaultProxy]:
    proxy = FaultProxy(server, path)
    listener = await asyncio.start_unix_server(proxy.serve, str(path))
    try:
        yield proxy
    finally:
        listener.close()
        proxy.cut()
        await asyncio.gather(*proxy._connections, return_exceptions=True)


@dataclass(frozen=True, slots=True)
class _Arrived:
    """A command, whole, and when it came (seconds, the loop's clock)."""

    raw: bytes
    words: list[bytes]
    at_s: float


async def _read_all(reader: asyncio.StreamReader, arrived: "asyncio.Queue[_Arrived | None]") -> None:
    """None is the end: the client has gone."""
    try:
        while True:
            raw, words = await _read_command(reader)
            arrived.put_nowait(_Arrived(raw, words, asyncio.get_running_loop().time()))
    except (asyncio.IncompleteReadError, ConnectionError):
        arrived.put_nowait(None)


async def _read_command(reader: asyncio.StreamReader) -> tuple[bytes, list[bytes]]:
    head = await reader.readuntil(b"\r\n")
    raw, words = bytearray(head), []
    for _ in range(int(head[1:])):
        length = await reader.readuntil(b"\r\n")
        word = await reader.readexactly(int(length[1:]) + 2)
        raw += length + word
        words.append(word[:-2])
    return bytes(raw), words


async def _read_reply(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n")
    kind, rest = head[:1], head[1:-2]
    if kind in b"$=!" and rest != b"-1":
        return head + await reader.readexactly(int(rest) + 2)
    members = {b"*": 1, b"~": 1, b">": 1, b"%": 2}.get(kind, 0) * max(int(rest) if kind in b"*~>%" else 0, 0)
    parts = [await _read_reply(reader) for _ in range(members)]
    return head + b"".join(parts)
