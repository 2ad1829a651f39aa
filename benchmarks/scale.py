"""Script time of a request as the store fills: `python -m benchmarks scale`.

Every figure is of one request on three accounts (its key's among all there are, a team's, everybody's), or of one
sweep, beside what is stored by then. Accounts are server-side copies of one that a real request left; reservations are
made by the real script.
"""

import argparse
import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median

import redis

from benchmarks.results import FOLDER, keep, machine, told
from benchmarks.svg import WIDTH, Drawing
from benchmarks.tables import table
from benchmarks.terminal import progress
from benchmarks.verbs import do_all, reserve, reserve_and_finalize, reset_statistics, script_calls, store_at, target
from benchmarks.workers import Process, redis_server
from budget_middleware.core.model import Target
from budget_middleware.core.statuses import Status
from budget_middleware.stores.redis import RedisStore, key_prefix

_NAMESPACE = "scale"
_TEAMS = 100
_SWEPT = 100
# Copies of one counter under the names of others. In pages, for the server answers nobody else meanwhile.
_COPY = """
for number = tonumber(ARGV[3]), tonumber(ARGV[4]) do
  redis.call('COPY', KEYS[1], ARGV[1] .. string.format('%016x', number) .. ARGV[2])
end
"""
_PAGE = 10_000
_dice = random.Random(1)


@dataclass(frozen=True, slots=True)
class Point:
    """Microseconds of script time, the median of several samples, with so much stored."""

    says: str
    accounts: int
    pending: int
    due: int
    script_us: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--accounts", type=int, default=1_000_000, help="at most (default 1000000)")
    parser.add_argument("--pending", type=int, default=100_000, help="reservations at most (default 100000)")
    parser.add_argument("--requests", type=int, default=500, help="in each of seven samples a point (default 500)")


def run(options: argparse.Namespace) -> None:
    """Measure, print, draw the curve, keep the figures."""
    print(told(machine()))
    found = asyncio.run(_measure(options))
    print(f"\n{tell(found)}")
    kept = {name: getattr(options, name) for name in ("accounts", "pending", "requests")}
    keep("scale", [asdict(point) for point in found], options=kept)
    picture = FOLDER / "scale.svg"
    picture.write_text(_draw(found))
    print(f"curve: {picture}")


def tell(figures: Sequence[Point]) -> str:
    """A row for each point of the curve."""
    rows = [[each.says, each.accounts, each.pending, each.due, each.script_us] for each in figures]
    return table(["script time of", "accounts", "pending", "leases that are over", "us"], rows)


async def _measure(options: argparse.Namespace) -> list[Point]:
    found: list[Point] = []
    with redis_server() as server:
        async with store_at(server, namespace=_NAMESPACE) as store:
            await reserve_and_finalize(store, _held_by(0))
            accounts = 1
            for more in _steps(options.accounts):
                _copy_accounts(server, accounts, more)
                accounts = more
                us = await _request_us(server, store, options.requests, accounts=accounts)
                found.append(Point("a request", accounts, 0, 0, us))
            pending = 0
            for more in _steps(options.pending):
                progress(f"scale: {more} pending")
                await do_all(reserve(store, _held_by(_dice.randrange(accounts))) for _ in range(pending, more))
                pending = more
                us = await _request_us(server, store, options.requests, accounts=accounts)
                found.append(Point("a request", accounts, pending, 0, us))
            found += await _with_due_leases(server, store, options, accounts=accounts, pending=pending)
    progress("")
    return found


def _steps(most: int) -> Sequence[int]:
    """Powers of ten up to ``most``, beginning where one begins to see something."""
    return [*(10**power for power in range(3, 10) if 10**power < most), most]


def _held_by(number: int) -> list[Target]:
    return [target(f"key:{number:016x}"), target(f"team:{number % _TEAMS}"), target("global")]


def _copy_accounts(server: Process, first: int, last: int) -> None:
    before, _, after = target("key:NAME").counter.name.partition("NAME")
    prefix = f"{key_prefix(_NAMESPACE)}c:"
    source = f"{prefix}{before}{0:016x}{after}"
    with redis.Redis(port=server.port, socket_timeout=30) as client:
        assert client.exists(source), "the layout of the store's keys has changed"
        for at in range(first, last, _PAGE):
            progress(f"scale: {at} accounts")
            client.eval(_COPY, 1, source, prefix + before, after, at, min(at + _PAGE, last) - 1)


async def _request_us(server: Process, store: RedisStore, requests: int, *, accounts: int) -> float:
    """Script time of a reserve and a finalize by somebody among them all."""
    return await _sampled_us(server, lambda: reserve_and_finalize(store, _held_by(_dice.randrange(accounts))), requests)


async def _sampled_us(server: Process, work: Callable[[], Awaitable[object]], times: int, *, samples: int = 7) -> float:
    found: list[float] = []
    for _ in range(samples):
        reset_statistics(server)
        await do_all((work() for _ in range(times)), in_flight=1)
        found.append(script_calls(server).script_us / times)
    return median(found)


async def _with_due_leases(
    server: Process, store: RedisStore, options: argparse.Namespace, *, accounts: int, pending: int
) -> list[Point]:
    """Leases that are all over: what a request pays that does not meet them, what one pays that does, and a sweep."""
    found: list[Point] = []
    due = options.pending
    others = [target("key:elsewhere")]
    ends = time.time() + due / 1000 + 5
    progress(f"scale: {due} leases that will be over")
    await do_all(reserve(store, others, lease_ms=_until_ms(ends)) for _ in range(due))
    while time.time() <= ends:
        progress(f"scale: waiting for {due} leases to be over")
        await asyncio.sleep(0.5)
    us = await _request_us(server, store, options.requests, accounts=accounts)
    found.append(Point("a request elsewhere", accounts, pending, due, us))
    # Each verb expires 16 of them at most: few enough requests that they meet some to the last.
    times = max(due // 1000, 1)
    us = await _sampled_us(server, lambda: reserve_and_finalize(store, others), times)
    found.append(Point("a request that meets them", accounts, pending, due, us))
    us = await _sampled_us(server, lambda: _sweep(store), max(due // (20 * _SWEPT), 1))
    found.append(Point(f"a sweep of {_SWEPT}", accounts, pending, due, us))
    return found


async def _sweep(store: RedisStore) -> None:
    answer = await store.sweep(at_most=_SWEPT)
    if answer.status is not Status.LEASES_DUE:
        raise SystemExit("no lease was over any more: the figures would mean nothing")


def _until_ms(ends: float) -> int:
    return max(int(1000 * (ends - time.time())), 1)


def _draw(found: Sequence[Point]) -> str:
    """Script time over what is stored, on a scale that begins at 0."""
    drawing = Drawing()
    points = [point for point in found if not point.due]
    highest = 1.25 * max(point.script_us for point in points)
    left, top, height, step = 110.0, 40.0, 260.0, (WIDTH - 180) / max(len(points) - 1, 1)
    drawing.text(left, 20, "Script time of one request (reserve and finalize, three accounts), microseconds", size=14)
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = top + height * (1 - share)
        drawing.line([(left, y), (WIDTH - 70, y)], stroke="#ddd", width=1)
        drawing.text(left - 8, y + 4, f"{highest * share:.0f}", anchor="end")
    curve = [
        (left + step * index, top + height * (1 - point.script_us / highest)) for index, point in enumerate(points)
    ]
    drawing.line(curve, stroke="#4472a8", width=2)
    for (x, y), point in zip(curve, points, strict=True):
        drawing.box(x - 3, y - 3, width=6, height=6, fill="#4472a8", title=f"{point.script_us:.1f} us")
        drawing.text(x, top + height + 18, f"{point.accounts:,}", anchor="middle", size=11)
        drawing.text(x, top + height + 34, f"{point.pending:,}", anchor="middle", size=11)
    drawing.text(left - 40, top + height + 18, "accounts", anchor="end", size=11)
    drawing.text(left - 40, top + height + 34, "pending", anchor="end", size=11)
    return drawing.render()
