"""The rows of a file: how many there are, and that they go."""

from pathlib import Path

from budget_middleware.stores.retention import Retention
from budget_middleware.stores.sql.sqlite_store import SqliteStore
from budget_middleware.testing import MovableClock
from tests.stores.sqlite_file import opened
from tests.stores.verbs import KEY, adjust, finalize, release, reserve, target

SHORT = Retention(remember_ms=10_000, remember_expired_ms=10_000, counters_ms=20_000, journal_max=100)


def counted(store: SqliteStore, *tables: str) -> list[int]:
    with opened(store) as connection:
        return [connection.execute(f"select count(*) from budget_{table}").fetchone()[0] for table in tables]


async def test_no_row_stays_for_ever(tmp_path: Path):
    """A busy file forgets at least as much as is added, also after it was left alone with much."""
    clock = MovableClock()
    store = SqliteStore(f"sqlite:///{tmp_path}/budget.db", timeout_s=10, clock_ms=clock, retention=SHORT)
    for at in range(150):
        of = target(f"key:{at}", at_ms=clock.now_ms)
        await store.reserve(reserve(f"r{at}", "0.10", of))
        await (store.release(release(f"r{at}")) if at % 3 else store.finalize(finalize(f"r{at}", "0.10", of)))
        await store.adjust(adjust(f"a{at}", "0.01", KEY))
    assert counted(store, "pending", "ended", "adjustments", "counters") == [0, 150, 150, 51]
    clock.advance(s=40 * 86_400)
    assert await store.counters() == []
    assert await store.reservation("r0") is None
    for at in range(12):
        await store.adjust(adjust(f"later{at}", "0.01", target("key:later", at_ms=clock.now_ms)))
    assert counted(store, "ended", "adjustments", "counters") == [0, 12, 1]
    await store.aclose()


async def test_what_is_held_stands_in_one_row(tmp_path: Path):
    store = SqliteStore(f"sqlite:///{tmp_path}/budget.db", timeout_s=10, clock_ms=MovableClock())
    await store.reserve(reserve("r1", "0.10", KEY, target("team:b")))
    assert counted(store, "pending", "ended", "counters", "totals", "journal") == [1, 0, 2, 2, 1]
    await store.finalize(finalize("r1", "0.10", KEY, target("team:b")))
    assert counted(store, "pending", "ended", "counters", "totals", "journal") == [0, 1, 2, 2, 2]
    await store.aclose()


async def test_ledgers_in_one_file_know_nothing_of_each_other(tmp_path: Path):
    url = f"sqlite:///{tmp_path}/budget.db"
    one, other = (SqliteStore(url, namespace=name, timeout_s=10, clock_ms=MovableClock()) for name in ("one", "other"))
    await one.reserve(reserve("r1", "0.10"))
    assert (await one.head()).generation != (await other.head()).generation
    assert (await other.counters(), await other.holds(), (await other.head()).seq) == ([], [], 0)
    assert await other.neighbours() == ["one"]
    for store in (one, other):
        await store.aclose()
