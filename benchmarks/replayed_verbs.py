"""A worker that only sends: recorded calls with fresh ids, as fast as they are answered.

`python replayed_verbs.py PORT SECONDS` reads the calls as JSON, says "ready" once it is connected, begins at the next
line, and prints how many pairs of calls were answered; `saturation` runs it by its path. It has one call under way at a
time, as a worker has, and does no more than a server must see: no event loop, no rules, no reading of a reply beyond
where it ends and whether it is an error.
"""

import json
import secrets
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import count

import hiredis


def main() -> None:
    port, seconds = int(sys.argv[1]), float(sys.argv[2])
    calls = [_maker(call) for call in json.loads(sys.stdin.readline())]
    ids = _fresh_ids()
    with socket.create_connection(("127.0.0.1", port)) as server:
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        reader = hiredis.Reader()
        print("ready", flush=True)
        sys.stdin.readline()
        until, pairs = time.monotonic() + seconds, 0
        while time.monotonic() < until:
            own = next(ids)
            for call in calls:
                server.sendall(call(own))
                _require_answer(server, reader)
            pairs += 1
        print(pairs)


def _maker(call: tuple[Sequence[str], Sequence[int]]) -> Callable[[bytes], bytes]:
    """Puts a call together for a set of ids: each is the set's own 30 digits and two of its place."""
    texts, gaps = [text.encode() for text in call[0]], [b"%02x" % gap for gap in call[1]]

    def make(own: bytes) -> bytes:
        parts = [texts[0]]
        for text, gap in zip(texts[1:], gaps, strict=True):
            parts += (own, gap, text)
        return b"".join(parts)

    return make


def _fresh_ids() -> Iterator[bytes]:
    worker = secrets.token_hex(8)
    return (f"{worker}{number:014x}".encode() for number in count())


def _require_answer(server: socket.socket, reader: hiredis.Reader) -> None:
    while (reply := reader.gets()) is False:
        reader.feed(server.recv(1 << 16))
    if isinstance(reply, hiredis.ReplyError):
        sys.exit(f"a call was answered {reply}: the figures would mean nothing")


if __name__ == "__main__":
    main()
