"""Time that the store's scripts take for one request, by its number of accounts: `python -m benchmarks scripts`.

From the server's own `INFO commandstats`; beside it a pair of scripts that does the least which counts at all.
"""

import argparse
import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from functools import partial
from statistics import median

from redis.asyncio import Redis

from benchmarks.results import keep, machine, told
from benchmarks.tables import table
from benchmarks.terminal import progress
from benchmarks.verbs import do_all, reserve_and_finalize, reset_statistics, script_calls, store_at, targets
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
Pair = Callable[[], Awaitable[None]]
LEAST = "least, 3 accounts"
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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--requests", type=int, default=500, help="of each kind in a round (default 500)")
    parser.add_argument("--rounds", type=int, default=5, help="of all kinds in turn (default 5)")


def run(options: argparse.Namespace) -> None:
    """Measure, print, keep the figures."""
    print(told(machine()))
    kept: list[ScriptTime] = []
    for in_flight in IN_FLIGHT:
        kept += asyncio.run(measure(options.requests, rounds=options.rounds, in_flight=in_flight))
    print(f"\n{tell(kept)}")
    keep("scripts", [asdict(time) for time in kept], options={"requests": options.requests, "rounds": options.rounds})


def tell(figures: Sequence[ScriptTime]) -> str:
    """The medians of all rounds."""
    head = ["for one request", "in flight", "script us", "their own commands us", "server's CPU us", "script calls"]
    rows: list[list[object]] = []
    for says, in_flight in dict.fromkeys((time.says, time.in_flight) for time in figures):
        times = [time for time in figures if (time.says, time.in_flight) == (says, in_flight)]
        medians = (
            median(getattr(time, name) for time in times)
            for name in ("script_us", "own_commands_us", "cpu_us", "calls")
        )
        rows.append([says, in_flight, *medians])
    return table(head, rows)


def ours(accounts: int) -> str:
    """How a table names our pair."""
    return f"ours, {accounts} account{'s' * (accounts > 1)}"


def median_us(times: Sequence[ScriptTime], says: str, figure: str, *, in_flight: int) -> float:
    """The median of a figure of one kind of pair."""
    return median(float(getattr(time, figure)) for time in times if (time.says, time.in_flight) == (says, in_flight))


async def measure(requests: int, *, rounds: int, in_flight: int) -> list[ScriptTime]:
    """Each kind of pair in turn, round by round."""
    found: list[ScriptTime] = []
    with redis_server() as server:
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(Redis(port=server.port))
            pairs = {LEAST: await _least_pair(client, accounts=3)}
            for accounts in _ACCOUNTS:
                store = await stack.enter_async_context(store_at(server, namespace=f"scripts{accounts}"))
                pairs[ours(accounts)] = partial(reserve_and_finalize, store, targets(accounts))
            for pair in pairs.values():
                await do_all((pair() for _ in range(_WARM_UP)), in_flight=in_flight)
            for number in range(rounds):
                for says, pair in pairs.items():
                    progress(f"scripts, round {number + 1}/{rounds}: {says}, {in_flight} in flight")
                    found.append(await _timed(server, pair, requests, says=says, in_flight=in_flight))
    progress("")
    return found


async def _timed(server: Process, pair: Pair, requests: int, *, says: str, in_flight: int) -> ScriptTime:
    reset_statistics(server)
    before_s = server.cpu_s()
    await do_all((pair() for _ in range(requests)), in_flight=in_flight)
    cpu_s = server.cpu_s() - before_s
    calls, script_us, own_us = script_calls(server)
    return ScriptTime(
        says, in_flight, calls / requests, script_us / requests, own_us / requests, cpu_us=1e6 * cpu_s / requests
    )


async def _least_pair(client: Redis, *, accounts: int) -> Pair:
    first, last = await client.script_load(_LEAST_RESERVE), await client.script_load(_LEAST_FINALIZE)
    counters = [f"{{least}}:c:{number}" for number in range(accounts)]

    async def pair() -> None:
        id_ = secrets.token_hex(16)
        keys = [*counters, f"{{least}}:r:{id_}", "{least}:journal"]
        await client.evalsha(first, len(keys), *keys, id_, "1000000")
        await client.evalsha(last, len(keys), *keys, id_, "500000")

    return pair
