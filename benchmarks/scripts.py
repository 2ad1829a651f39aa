"""Time that the store's scripts take for one request, by its number of accounts: `python -m benchmarks scripts`.

From the server's own `INFO commandstats`; beside it a pair of scripts that does the least which counts at all.
"""

import argparse
import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from functools import partial

from redis.asyncio import Redis

from benchmarks.results import keep, machine, told
from benchmarks.terminal import progress
from benchmarks.verbs import do_all, reserve_and_finalize, reset_statistics, script_calls, store_at, targets
from benchmarks.workers import Process, redis_server

# Reserve and finalize without leases, idempotency, expiry or checks of what is stored, on so many counters.
_NAIVE_RESERVE = """
for i = 1, #KEYS - 2 do
  local f = redis.call('HMGET', KEYS[i], 'spent', 'reserved')
  if tonumber(f[1] or 0) + tonumber(f[2] or 0) + tonumber(ARGV[2]) > 1e15 then return 0 end
end
for i = 1, #KEYS - 2 do redis.call('HINCRBY', KEYS[i], 'reserved', ARGV[2]) end
redis.call('HSET', KEYS[#KEYS - 1], 'amount', ARGV[2], 'state', 'pending')
redis.call('XADD', KEYS[#KEYS], 'MAXLEN', '~', '100000', '*', 'op', 'reserve', 'id', ARGV[1], 'amount', ARGV[2])
return 1
"""
_NAIVE_FINALIZE = """
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


@dataclass(frozen=True, slots=True)
class ScriptTime:
    """One request's worth of script calls, in microseconds: as the server timed them, and their own commands in them.

    ``cpu_us`` is the CPU time of the server's process, which also reads and writes the sockets.
    """

    says: str
    accounts: int
    in_flight: int
    calls: float
    script_us: float
    own_commands_us: float
    cpu_us: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--requests", type=int, default=3000, help="of each kind (default 3000)")


def run(options: argparse.Namespace) -> None:
    """Measure, print, keep the figures."""
    print(told(machine()))
    found = asyncio.run(_measure(options.requests))
    columns = f"{'in flight':>10}{'calls':>7}{'script us':>11}{'own commands us':>17}{'server CPU us':>15}"
    print(f"\n{'per request':<24}{columns}")
    for row in found:
        print(
            f"{row.says:<24}{row.in_flight:>10}{row.calls:>7.2f}{row.script_us:>11.1f}{row.own_commands_us:>17.1f}"
            f"{row.cpu_us:>15.1f}"
        )
    keep("scripts", [asdict(row) for row in found], options={"requests": options.requests})


async def _measure(requests: int) -> list[ScriptTime]:
    found: list[ScriptTime] = []
    with redis_server() as server:
        for in_flight in (1, 32):
            async with Redis(port=server.port) as client:
                naive = await _naive_pair(client, accounts=3)
                found.append(await _timed(server, naive, requests, says="naive, 3 accounts", of=(3, in_flight)))
            for accounts in (1, 3, 8):
                async with store_at(server, namespace=f"scripts{accounts}") as store:
                    held = targets(accounts)
                    pair = partial(reserve_and_finalize, store, held)
                    says = f"ours, {accounts} account{'s' * (accounts > 1)}"
                    found.append(await _timed(server, pair, requests, says=says, of=(accounts, in_flight)))
    return found


async def _timed(
    server: Process, pair: Callable[[], Awaitable[None]], requests: int, *, says: str, of: tuple[int, int]
) -> ScriptTime:
    accounts, in_flight = of
    progress(f"scripts: {says}, {in_flight} in flight")
    await do_all((pair() for _ in range(_WARM_UP)), in_flight=in_flight)
    reset_statistics(server)
    before_s = server.cpu_s()
    await do_all((pair() for _ in range(requests)), in_flight=in_flight)
    cpu_s = server.cpu_s() - before_s
    calls, script_us, own_us = script_calls(server)
    progress("")
    return ScriptTime(
        says,
        accounts,
        in_flight,
        calls / requests,
        script_us / requests,
        own_us / requests,
        cpu_us=1e6 * cpu_s / requests,
    )


async def _naive_pair(client: Redis, *, accounts: int) -> Callable[[], Awaitable[None]]:
    first, last = await client.script_load(_NAIVE_RESERVE), await client.script_load(_NAIVE_FINALIZE)
    counters = [f"{{naive}}:c:{number}" for number in range(accounts)]

    async def pair() -> None:
        id_ = secrets.token_hex(16)
        keys = [*counters, f"{{naive}}:r:{id_}", "{naive}:journal"]
        await client.evalsha(first, len(keys), *keys, id_, "1000000")
        await client.evalsha(last, len(keys), *keys, id_, "500000")

    return pair
