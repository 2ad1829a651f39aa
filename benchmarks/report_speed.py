"""How long a report takes: a made-up history of a million bookings over 90 days, read by day, by hour and in all.

python benchmarks/report_speed.py [BOOKINGS]
"""

import asyncio
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from random import Random

from budget_middleware.core.periods import Period
from budget_middleware.history.connections import open_database
from budget_middleware.history.schema import BOOKING_COLUMNS, COUNT_COLUMNS
from budget_middleware.opening import operators_ledger_of
from budget_middleware.operations.context import OperatorContext
from budget_middleware.operations.reports import Moments, ReportQuery, make_report
from budget_middleware.settings_loading import load
from budget_middleware.stores.memory.store import MemoryStore

DAYS = 90
DAY_MS = 86_400_000
SINCE_MS = 1_788_213_600_000  # 2026-09-01 in Berlin
MODELS = [("gpt-4o", "openai"), ("gpt-4o-mini", "openai"), ("claude-haiku-4-5", "anthropic")]
TEAMS, USERS = 20, 1_000
QUERIES = [
    ReportQuery((), None, Moments("2026-01-01")),
    ReportQuery(("team", "model"), Period.DAY, Moments("2026-01-01")),
    ReportQuery(("team",), Period.HOUR, Moments("2026-01-01")),
    ReportQuery(("user", "model"), Period.MONTH, Moments("2026-01-01")),
    ReportQuery(("team", "model"), Period.DAY, Moments("2026-11-01", "2026-11-07")),
]


def make_up(url: str, n_bookings: int) -> None:
    """A thousand users in twenty teams, three models."""
    random = Random(1)
    database = open_database(url)
    payers = [f"key:{user:016x} team:t{user % TEAMS} user:u{user}" for user in range(USERS)]

    def rows() -> "list[tuple[object, ...]]":
        made = []
        for seq in range(1, n_bookings + 1):
            at_ms = SINCE_MS + seq * DAYS * DAY_MS // n_bookings
            model, provider = random.choice(MODELS)
            tokens = {"n_input": random.randrange(9_000), "n_output": random.randrange(900)}
            made.append(
                ("budget", "g", seq * 3, 0, at_ms, at_ms, "finalized", f"{seq:032x}", random.randrange(USERS), model,
                 provider, 1, random.randrange(10**8), 0, *(dict.fromkeys(COUNT_COLUMNS, 0) | tokens).values())
            )  # fmt: skip
        return made

    with database.transaction():
        database.execute_many("insert into payer_sets (id, accounts) values (?, ?)", list(enumerate(payers)))
        columns, marks = ", ".join(BOOKING_COLUMNS), ", ".join("?" * len(BOOKING_COLUMNS))
        database.execute_many(f"insert into bookings ({columns}) values ({marks})", rows())
        database.execute(
            "insert into progress values ('budget', 'g', 1, 'g', 0, ?, ?, ?, 0, 0, '', ?, ?, 0, 0)",
            (3 * n_bookings, n_bookings, SINCE_MS, 3 * n_bookings, SINCE_MS),
        )
    database.close()


async def measure(url: str) -> None:
    settings = load(history_url=url, timezone="Europe/Berlin")
    store = MemoryStore()
    context = OperatorContext(settings, store, operators_ledger_of(settings, store))
    for query in QUERIES:
        # The processor's time: the machine may have other work.
        began_s = time.process_time()
        report = await make_report(context, query)
        took_s = time.process_time() - began_s
        by = f"{','.join(query.by) or 'nothing'} per {query.per or 'all time'}"
        span = f"{query.moments.since} to {query.moments.until or 'now'}"
        print(f"{took_s:6.2f} s  {report.total.requests:>9,} requests in {len(report.rows):>6,} rows: by {by}, {span}")
    await replace(context).ledger.drain()


def main() -> None:
    n_bookings = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "history.db")
        make_up(f"sqlite:///{path}", n_bookings)
        print(f"{n_bookings:,} bookings, {path.stat().st_size / 2**20:,.0f} MiB")
        asyncio.run(measure(f"sqlite:///{path}"))


if __name__ == "__main__":
    main()
