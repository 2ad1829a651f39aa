"""Bytes of each kind of record, by the code of one checkout: prints them as JSON. `sizes` runs it by its path."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import redis

from benchmarks.verbs import do_all, release_unknown, reserve, reserve_and_finalize, store_at, target
from benchmarks.workers import Process, redis_server
from budget_middleware.stores.redis import RedisStore

_NAMESPACE = "sizes"
_JOURNALS = (f"{{{_NAMESPACE}}}:entries", f"{{{_NAMESPACE}}}:journal")
"""Its key, today and in older checkouts, where it is a stream."""

Sizes = dict[str, float]


class Measured:
    """A server with a store of its own: a table that has grown does not shrink at once."""

    def __init__(self, server: Process, store: RedisStore) -> None:
        self.store = store
        self._client = redis.Redis(port=server.port)
        # What is deleted is not in use any more at once.
        self._client.config_set("lazyfree-lazy-user-del", "no")

    def used_bytes(self) -> int:
        """Memory in use without that of the journal, which is bounded, and of connections."""
        # Only to make it shorter would leave the table that it grew.
        self._client.delete(*_JOURNALS)
        memory = self._client.info("memory")
        return int(memory["used_memory"]) - int(memory["mem_clients_normal"])

    def journal_record_bytes(self) -> float:
        """On average, of those that are kept."""
        (journal,) = (name for name in _JOURNALS if self._client.exists(name))
        count = self._client.xlen if self._client.type(journal) == b"stream" else self._client.zcard
        return float(self._client.memory_usage(journal, samples=0) or 0) / int(count(journal))

    def forget_reservations(self) -> None:
        found = list(self._client.scan_iter(f"{{{_NAMESPACE}}}:r:*", count=1000))
        for at in range(0, len(found), 1000):
            self._client.delete(*found[at : at + 1000])


@asynccontextmanager
async def _measured() -> AsyncIterator[Measured]:
    with redis_server() as server:
        async with store_at(server, namespace=_NAMESPACE) as store:
            yield Measured(server, store)


async def main(records: int) -> Sizes:
    found: Sizes = {}
    for accounts in (1, 3, 8):
        async with _measured() as measured:
            found |= await _of_reservations(measured, records, accounts)
    async with _measured() as measured:
        found["account, idle, one period"] = await _of_an_account(measured, records)
    return found


async def _of_reservations(measured: Measured, records: int, accounts: int) -> Sizes:
    """On the same few accounts, so that nothing else grows."""
    store, on = measured.store, f"on {accounts} account{'s' * (accounts > 1)}"
    held = [target(f"kind{number}:0123456789abcdef") for number in range(accounts)]
    await reserve_and_finalize(store, held)
    start = measured.used_bytes()
    await do_all(reserve_and_finalize(store, held) for _ in range(records))
    journal_record = measured.journal_record_bytes()
    ended = measured.used_bytes()
    await do_all(reserve(store, held) for _ in range(records))
    pending = measured.used_bytes()
    sizes = {
        f"reservation, pending, {on}": (pending - ended) / records,
        f"reservation, ended, {on}": (ended - start) / records,
        f"journal record of one verb {on}": journal_record,
    }
    if accounts == 1:
        await do_all(release_unknown(store) for _ in range(records))
        sizes["tombstone of an id whose reserve never came"] = (measured.used_bytes() - pending) / records
    return sizes


async def _of_an_account(measured: Measured, records: int) -> float:
    """One that was used and has nothing in flight, without what is remembered of its reservations."""
    names = [[target(f"key:{number:016x}")] for number in range(records)]
    start = measured.used_bytes()
    await do_all(reserve_and_finalize(measured.store, held) for held in names)
    measured.forget_reservations()
    return (measured.used_bytes() - start) / records


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(int(sys.argv[1])))))
