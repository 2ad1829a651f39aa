"""Time that the store's scripts take for one request, by its number of accounts: `python -m benchmarks scripts`.

From the server's own `INFO commandstats`; beside it a pair of scripts that does the least which counts at all.
`make bench ARGS="scripts --beside ../other"` measures the code of `../other` in turn with this one.
"""

import argparse
import asyncio
import secrets
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

from redis.asyncio import Redis

from benchmarks.checkouts import OTHER, add_beside, command_of, environment_of
from benchmarks.results import keep, machine, told
from benchmarks.tables import table
from benchmarks.terminal import progress
from benchmarks.verbs import (
    do_all,
    mixed_targets,
    reserve_and_finalize,
    reset_statistics,
    script_calls,
    store_at,
    targets,
)
from benchmarks.workers import Process, redis_server

# Reserve and finalize without leases, idempotency, expiry or checks of what is stored, on so many counters.
_LEAST_RESERVE = """
for i = 1, #KEYS - 2 do
  local f = redis.call('HMGET', KEYS[i], 'spent', 'reserved')
  if tonumber(f[1] or 0) + tonumber(f[2] or 0) + tonumber(ARGV[2]) > 1e15 then return 0 end
end
for i = 1, #KEYS - 2 do redis.call('HINCRBY', KEYS[i], 'reserved', ARGV[2]) end
redis.call('HSET', KEYS[#KEYS - 1], 'amount', ARGV[2], 'state', 'pending')
redis.call('XADD', KEYS[#KEYS], 'MAXLEN', '~', '100000', '*', 'op', 'reserve', 'id', ARGV[1], 'amount', ARGV[2])
return 1
"""
_LEAST_FINALIZE = """
local amount = redis.call('HGET', KEYS[#KEYS - 1], 'amount')
for i = 1, #KEYS - 2 do
  redis.call('HINCRBY', KEYS[i], 'reserved', '-' .. amount)
  redis.call('HINCRBY', KEYS[i], 'spent', ARGV[2])
end
redis.call('HSET', KEYS[#KEYS - 1], 'state', 'finalized')
redis.call('PEXPIRE', KEYS[#KEYS - 1], '3600000')
redis.call('XADD', KEYS[#KEYS], 'MAXLEN', '~', '100000', '*', 'op', 'finalize', 'id', ARGV[1], 'amount', ARGV[2])
return 1
"""
_WARM_UP = 200
LEAST = "least, 3 accounts"
MIXED = "ours, 8 counters of 4 units"
_ACCOUNTS = (1, 3, 8)
IN_FLIGHT = (1, 32)


@dataclass(frozen=True, slots=True)
class ScriptTime:
    """One request's worth of script calls, in microseconds: as the server timed them, and their own commands in them.

    ``cpu_us`` is the CPU time of the server's process, which also reads and writes the sockets.
    """

    says: str
    in_flight: int
    calls: float
    script_us: float
    own_commands_us: float
    cpu_us: float
    commands: float


class Way(NamedTuple):
    """Pairs of one kind: a server that has nothing else to do meanwhile, and what does so many of them."""

    server: Process
    do: Callable[[int], Awaitable[None]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--requests", type=int, default=500, help="of each kind in a round (default 500)")
    parser.add_argument("--rounds", type=int, default=5, help="of all kinds in turn (default 5)")
    add_beside(parser)


def run(options: argparse.Namespace) -> None:
    """Measure, print, keep the figures."""
    print(told(machine()))
    kept: list[ScriptTime] = []
    for in_flight in IN_FLIGHT:
        measuring = measure(options.requests, rounds=options.rounds, in_flight=in_flight, beside=options.beside)
        kept += asyncio.run(measuring)
    print(f"\n{tell(kept)}")
    keep("scripts", [asdict(time) for time in kept], options={"requests": options.requests, "rounds": options.rounds})


def tell(figures: Sequence[ScriptTime]) -> str:
    """The medians of all rounds. What a time is of another checkout's is formed within a round."""
    head = ["for one request", "in flight", "script us", "its commands' us", "commands", "server's CPU us", "calls"]
    names = ("script_us", "own_commands_us", "commands", "cpu_us", "calls")
    has_others = any(time.says.startswith(OTHER) for time in figures)
    rows: list[list[object]] = []
    for says, in_flight in dict.fromkeys((time.says, time.in_flight) for time in figures):
        times = _of(figures, says, in_flight)
        row = [says, in_flight, *(median(getattr(time, name) for time in times) for name in names)]
        others = _of(figures, says.replace("ours", OTHER), in_flight)
        ratio: object = "-"
        if others:
            ratio = median(one.script_us / other.script_us for one, other in zip(times, others, strict=True))
        rows.append([*row, *([ratio] * has_others)])
    return table([*head, *([f"of {OTHER}'s"] * has_others)], rows)


def ours(accounts: int) -> str:
    """How a table names our pair."""
    return f"ours, {_counted(accounts)}"


def _counted(accounts: int) -> str:
    return f"{accounts} account{'s' * (accounts > 1)}"


def median_us(times: Sequence[ScriptTime], says: str, figure: str, *, in_flight: int) -> float:
    """The median of a figure of one kind of pair."""
    return median(float(getattr(time, figure)) for time in _of(times, says, in_flight))


def _of(times: Sequence[ScriptTime], says: str, in_flight: int) -> list[ScriptTime]:
    return [time for time in times if (time.says, time.in_flight) == (says, in_flight)]


async def measure(requests: int, *, rounds: int, in_flight: int, beside: Path | None = None) -> list[ScriptTime]:
    """Each kind of pair in turn, round by round."""
    found: list[ScriptTime] = []
    async with AsyncExitStack() as stack:
        server = stack.enter_context(redis_server())
        ways = await _our_ways(stack, server, in_flight)
        if beside is not None:
            ways |= _ways_of(stack, beside, in_flight)
        for way in ways.values():
            await way.do(_WARM_UP)
        for number in range(rounds):
            for says, way in ways.items():
                progress(f"scripts, round {number + 1}/{rounds}: {says}, {in_flight} in flight")
                found.append(await _timed(way, requests, says=says, in_flight=in_flight))
    progress("")
    return found


async def _timed(way: Way, requests: int, *, says: str, in_flight: int) -> ScriptTime:
    reset_statistics(way.server)
    before_s = way.server.cpu_s()
    await way.do(requests)
    cpu_s = way.server.cpu_s() - before_s
    used = script_calls(way.server)
    return ScriptTime(
        says,
        in_flight,
        used.calls / requests,
        used.script_us / requests,
        used.own_us / requests,
        cpu_us=1e6 * cpu_s / requests,
        commands=used.own_calls / requests,
    )


async def _our_ways(stack: AsyncExitStack, server: Process, in_flight: int) -> dict[str, Way]:
    client = await stack.enter_async_context(Redis(port=server.port))
    pairs = {LEAST: await _least_pair(client, accounts=3)}
    for accounts in _ACCOUNTS:
        store = await stack.enter_async_context(store_at(server, namespace=f"scripts{accounts}"))
        pairs[ours(accounts)] = partial(reserve_and_finalize, store, targets(accounts))
    store = await stack.enter_async_context(store_at(server, namespace="scripts-mixed"))
    pairs[MIXED] = partial(reserve_and_finalize, store, mixed_targets())

    async def do(pair: Callable[[], Awaitable[None]], count: int) -> None:
        await do_all((pair() for _ in range(count)), in_flight=in_flight)

    return {says: Way(server, partial(do, pair)) for says, pair in pairs.items()}


def _ways_of(stack: AsyncExitStack, code: Path, in_flight: int) -> dict[str, Way]:
    """Another checkout's, in a process of its own, at a server of its own."""
    server = stack.enter_context(redis_server())
    command = command_of("paired_verbs.py", server.port)
    process = stack.enter_context(
        subprocess.Popen(
            command, env=environment_of(code), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
    )

    def ask(accounts: int, count: int) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{accounts} {in_flight} {count}\n")
        if not process.stdout.readline():
            sys.exit(f"the pairs of {code} ended early: the figures would mean nothing")

    async def do(accounts: int, count: int) -> None:
        await asyncio.to_thread(ask, accounts, count)

    return {f"{OTHER}, {_counted(accounts)}": Way(server, partial(do, accounts)) for accounts in _ACCOUNTS}


async def _least_pair(client: Redis, *, accounts: int) -> Callable[[], Awaitable[None]]:
    first, last = await client.script_load(_LEAST_RESERVE), await client.script_load(_LEAST_FINALIZE)
    counters = [f"{{least}}:c:{number}" for number in range(accounts)]

    async def pair() -> None:
        id_ = secrets.token_hex(16)
        keys = [*counters, f"{{least}}:r:{id_}", "{least}:journal"]
        await client.evalsha(first, len(keys), *keys, id_, "1000000")
        await client.evalsha(last, len(keys), *keys, id_, "500000")

    return pair
