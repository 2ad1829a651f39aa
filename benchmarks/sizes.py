"""Bytes that each kind of record takes in the store, made by the real scripts: `python -m benchmarks sizes`."""

import argparse
import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import redis

from benchmarks.results import keep, machine, told
from benchmarks.tables import table
from benchmarks.terminal import progress
from benchmarks.verbs import do_all, release_unknown, reserve, reserve_and_finalize, store_at, target
from benchmarks.workers import Process, redis_server
from budget_middleware.stores.redis import RedisStore, key_prefix

_NAMESPACE = "sizes"


@dataclass(frozen=True, slots=True)
class Size:
    """Bytes of one record, with its share of the server's tables and indexes."""

    says: str
    bytes: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--records", type=int, default=16_384, help="of each kind (default 16384)")


def run(options: argparse.Namespace) -> None:
    """Measure, print, keep the figures."""
    print(told(machine()))
    found = asyncio.run(_measure(options.records))
    print(f"\n{tell(found)}")
    keep("sizes", [asdict(size) for size in found], options={"records": options.records})


def tell(figures: Sequence[Size]) -> str:
    """A row for each kind of record: one, and as many as 100 requests a second make in an hour."""
    rows = [[size.says, round(size.bytes), f"{size.bytes * 360_000 / 2**20:,.0f}"] for size in figures]
    return table(["record", "bytes", "MiB for 360,000"], rows)


async def _measure(records: int) -> list[Size]:
    found: list[Size] = []
    for accounts in (1, 3, 8):
        # On a server of its own, for a table that has grown does not shrink at once.
        with redis_server() as server:
            async with store_at(server, namespace=_NAMESPACE) as store:
                found += await _of_reservations(server, store, records, accounts)
    with redis_server() as server:
        async with store_at(server, namespace=_NAMESPACE) as store:
            found += await _of_accounts(server, store, records)
    return found


async def _of_reservations(server: Process, store: RedisStore, records: int, accounts: int) -> list[Size]:
    """On the same few accounts, so that nothing else grows."""
    held = [target(f"kind{number}:0123456789abcdef") for number in range(accounts)]
    ended = f"reservation, ended, on {_counted(accounts)}"
    await reserve_and_finalize(store, held)
    start = _used_bytes(server)
    progress(f"sizes: {accounts} accounts")
    await do_all(reserve_and_finalize(store, held) for _ in range(records))
    journal = _journal_bytes(server) / (2 * records)
    after = _used_bytes(server)
    await do_all(reserve(store, held) for _ in range(records))
    pending = _used_bytes(server)
    sizes = [
        Size(f"reservation, pending, on {_counted(accounts)}", (pending - after) / records),
        Size(ended, (after - start) / records),
        Size(f"journal record of one verb on {_counted(accounts)}", journal),
    ]
    if accounts == 1:
        await do_all(release_unknown(store) for _ in range(records))
        sizes.append(Size("tombstone of an id whose reserve never came", (_used_bytes(server) - pending) / records))
    progress("")
    return sizes


async def _of_accounts(server: Process, store: RedisStore, records: int) -> list[Size]:
    """An account that was used and has nothing in flight, without what is remembered of its reservations."""
    names = [[target(f"key:{number:016x}")] for number in range(records)]

    start = _used_bytes(server)
    await do_all(reserve_and_finalize(store, held) for held in names)
    with redis.Redis(port=server.port) as client:
        reservations = list(client.scan_iter(f"{key_prefix(_NAMESPACE)}r:*", count=1000))
        for at in range(0, len(reservations), 1000):
            client.delete(*reservations[at : at + 1000])
    return [Size("account, idle, one period", (_used_bytes(server) - start) / records)]


def _counted(accounts: int) -> str:
    return f"{accounts} account{'s' * (accounts > 1)}"


def _used_bytes(server: Process) -> int:
    """Memory in use without that of the journal, which is bounded, and of connections."""
    with redis.Redis(port=server.port) as client:
        client.xtrim(f"{key_prefix(_NAMESPACE)}journal", maxlen=1, approximate=False)
        memory = client.info("memory")
        return int(memory["used_memory"]) - int(memory["mem_clients_normal"])


def _journal_bytes(server: Process) -> int:
    with redis.Redis(port=server.port) as client:
        return int(client.memory_usage(f"{key_prefix(_NAMESPACE)}journal", samples=0) or 0)
