"""What databases carry as stores, in pairs of reserve and finalize: `python -m benchmarks databases`.

Beside two plain `UPDATE … RETURNING` round trips on rows that nobody else wants, from as many connections as there are
pairs in flight, eight at most. Each kind in turn, round by round; ratios are formed within a round. Postgres waits for
its disk with each commit, as it does by default; SQLite once as by default, and once likewise (`synchronous=full`).
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.results import keep, machine, told
from benchmarks.tables import table
from benchmarks.terminal import progress
from benchmarks.verbs import do_all, reserve_and_finalize, targets
from budget_middleware.stores.base import Store
from budget_middleware.stores.sql.postgres_store import PostgresStore
from budget_middleware.stores.sql.sqlite_store import SqliteStore

# The one real Postgres of this repository.
from tests.databases.postgres_server import PostgresServer

PLAIN = "two plain UPDATE … RETURNING"
POSTGRES = "Postgres"
SQLITE = "SQLite"
SQLITE_FULL = "SQLite, synchronous=full"
KINDS = (PLAIN, POSTGRES, SQLITE, SQLITE_FULL)
_ACCOUNTS = 3
_IN_FLIGHT = (1, 8, 32)
_MOST_CONNECTIONS = 8
_ROWS_EACH = 100
_WARM_UP = 100
_UPDATE = "update plain set spent = spent + 1 where id = %s returning spent"


@dataclass(frozen=True, slots=True)
class PairRate:
    """How many pairs a second were done, so many at a time."""

    says: str
    in_flight: int
    pairs_per_s: float


class Plain:
    """What a gateway would do that only counted, by psycopg."""

    def __init__(self, connections: Sequence[Any]) -> None:
        self._connections = connections

    async def pairs(self, count: int, *, in_flight: int) -> None:
        used = self._connections[:in_flight]
        await asyncio.gather(
            *(self._pairs(each, count // len(used), number * _ROWS_EACH) for number, each in enumerate(used))
        )

    async def _pairs(self, connection: Any, count: int, first_row: int) -> None:
        for row in range(2 * count):
            found = await connection.execute(_UPDATE, (first_row + row % _ROWS_EACH,))
            await found.fetchone()


class OfStore:
    """What a request does."""

    def __init__(self, store: Any) -> None:
        self._store = store

    async def pairs(self, count: int, *, in_flight: int) -> None:
        await do_all((reserve_and_finalize(self._store, targets(_ACCOUNTS)) for _ in range(count)), in_flight=in_flight)


Way = Plain | OfStore


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--requests", type=int, default=480, help="of each kind in a round (default 480)")
    parser.add_argument("--rounds", type=int, default=9, help="of all kinds in turn (default 9)")


def run(options: argparse.Namespace) -> None:
    """Measure, print, keep the figures."""
    print(told(machine()))
    found = asyncio.run(_measure(options.requests, rounds=options.rounds))
    print(f"\n{tell(found)}")
    keep(
        "databases", [asdict(each) for each in found], options={"requests": options.requests, "rounds": options.rounds}
    )


def tell(figures: Sequence[PairRate]) -> str:
    """Medians of all rounds; ratios are those to the plain updates of the same round."""
    rows: list[list[object]] = []
    for in_flight in _IN_FLIGHT:
        plain = _of(figures, PLAIN, in_flight)
        for says in KINDS:
            own = _of(figures, says, in_flight)
            ratio = median(one / other for one, other in zip(own, plain, strict=True))
            rows.append([says, in_flight, median(own), f"{ratio:.2f}"])
    return table(["pairs", "in flight", "pairs/s", "of two updates"], rows)


def _of(figures: Sequence[PairRate], says: str, in_flight: int) -> list[float]:
    return [each.pairs_per_s for each in figures if (each.says, each.in_flight) == (says, in_flight)]


async def _measure(requests: int, *, rounds: int) -> list[PairRate]:
    found: list[PairRate] = []
    async with _ways() as ways:
        for way in ways.values():
            await way.pairs(_WARM_UP, in_flight=_MOST_CONNECTIONS)
        for number in range(rounds):
            # Whoever comes first finds another machine than whoever comes last.
            turn = number % len(ways)
            order = [*ways.items()][turn:] + [*ways.items()][:turn]
            for in_flight in _IN_FLIGHT:
                for says, way in order:
                    progress(f"databases, round {number + 1}/{rounds}: {says}, {in_flight} in flight")
                    began_s = time.perf_counter()
                    await way.pairs(requests, in_flight=in_flight)
                    found.append(PairRate(says, in_flight, requests / (time.perf_counter() - began_s)))
        progress("")
    return found


@asynccontextmanager
async def _ways() -> AsyncIterator[dict[str, Way]]:
    async with AsyncExitStack() as stack:
        # As root the server runs as somebody else, who gets a folder of their own.
        folder, own = (stack.enter_context(tempfile.TemporaryDirectory(prefix="budget-")) for _ in range(2))
        durable = {"fsync": "on", "full_page_writes": "on"}
        server = stack.enter_context(PostgresServer(Path(own), config=durable))
        stores: dict[str, Store] = {
            POSTGRES: PostgresStore(server.url(), timeout_s=30),
            SQLITE: SqliteStore(f"sqlite:///{folder}/normal.db", timeout_s=30),
            SQLITE_FULL: SqliteStore(f"sqlite:///{folder}/full.db?synchronous=full", timeout_s=30),
        }
        for store in stores.values():
            stack.push_async_callback(store.aclose)
        plain = Plain([await stack.enter_async_context(await _connect(server)) for _ in range(_MOST_CONNECTIONS)])
        yield {PLAIN: plain, **{says: OfStore(store) for says, store in stores.items()}}


async def _connect(server: PostgresServer) -> Any:
    import psycopg

    connection = await psycopg.AsyncConnection.connect(server.url(), autocommit=True)
    await connection.execute("create table if not exists plain (id bigint primary key, spent bigint not null)")
    rows = _MOST_CONNECTIONS * _ROWS_EACH
    fill = "insert into plain select n, 0 from generate_series(0, %s) n on conflict do nothing"
    await connection.execute(fill, (rows,))
    return connection
