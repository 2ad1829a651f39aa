"""What came to nothing leaves the journal for a short set of its own, and pushes nothing of others out (F57)."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from budget_middleware.core.answers import Answer, Entry
from budget_middleware.core.journal.audit import Check
from budget_middleware.core.model import Target
from budget_middleware.core.statuses import Status
from budget_middleware.core.windows import Period
from budget_middleware.stores.base import Store
from budget_middleware.stores.retention import RELEASED_MS, Retention
from budget_middleware.testing import MovableClock
from tests.stores.audit import audit_report
from tests.stores.by_hand import change_by_hand, change_word
from tests.stores.clocked import ClockedRedisStore
from tests.stores.verbs import KEY, adjust, finalize, grow, release, reserve, seqs, target, whole_journal

JOURNAL_MAX = 80
VOIDED_MAX = JOURNAL_MAX // 20
SHORT = Retention(journal_max=JOURNAL_MAX, remember_ms=1_000)
GLOBAL = target("global")

in_redis = pytest.mark.parametrize("make_store", ["server"], indirect=True)


@pytest.fixture
def short(open_store: Callable[..., Store]) -> Store:
    return open_store(SHORT)


async def used(store: Store, name: str, *targets: Target) -> list[Entry]:
    """A request that is booked; its entries."""
    answers = [
        await store.reserve(reserve(name, "0.02", *targets)),
        await store.finalize(finalize(name, "0.01")),
    ]
    return [entry for answer in answers for entry in answer.entries]


async def flood(store: Store, count: int) -> list[Answer]:
    """Requests of as many random tokens, each answered with 401; their releases."""
    answers: list[Answer] = []
    for number in range(count):
        await store.reserve(reserve(f"x{number}", "0.02", target(f"key:random{number:08}", "10"), GLOBAL))
        answers.append(await store.release(release(f"x{number}")))
    return answers


async def test_f57_a_flood_pushes_nothing_of_others_out_of_the_journal(short: Store):
    theirs = [entry for number in range(10) for entry in await used(short, f"used{number}", KEY, GLOBAL)]
    assert len(theirs) == 40
    await flood(short, 30)
    kept = await whole_journal(short)
    assert [entry for entry in kept if not entry.reservation_id.startswith("x")] == theirs
    # Two entries a record, two records a request: the last requests are still told.
    voided = [entry for entry in kept if entry.reservation_id.startswith("x")]
    assert [entry.reservation_id for entry in voided[-4:]] == ["x29"] * 4
    assert len(voided) == 2 * VOIDED_MAX
    assert await short.latest(count=len(voided)) == voided
    assert (await audit_report(short)).drift == ()


async def test_f57_what_is_booked_meanwhile_goes_on_in_its_row(short: Store):
    """Seqs have gaps, bookings have none; *spent* chains across them."""
    theirs: list[Entry] = []
    for number in range(10):
        await flood(short, 5)
        theirs += await used(short, f"used{number}", KEY, GLOBAL)
    kept = [entry for entry in await whole_journal(short) if entry.reservation_id.startswith("used")]
    assert kept == theirs
    booked = [entry for entry in kept if entry.may_book]
    assert [entry.bookings for entry in booked] == list(range(1, 21))
    report = await audit_report(short)
    assert (report.drift, report.unproved, report.proved_in_part) == ((), 0, 0)
    assert seqs(kept) != list(range(1, 41))


async def test_f57_drift_does_not_hide_in_the_gaps(short: Store):
    await used(short, "first", KEY, GLOBAL)
    await flood(short, 10)
    await change_by_hand(short, KEY.counter, spent=7)
    await flood(short, 10)
    await used(short, "last", KEY, GLOBAL)
    (drift,) = (await audit_report(short)).drift
    assert (drift.counter, drift.check, drift.found - drift.expected) == (KEY.counter, Check.CHAIN_SPENT, 7)
    await change_by_hand(short, GLOBAL.counter, spent=5)
    assert {(found.counter.account, found.check) for found in (await audit_report(short)).drift} == {
        ("global", Check.SPENT),
        ("key:a", Check.CHAIN_SPENT),
    }


async def test_f57_of_a_hold_that_grew_its_reserve_goes_with_its_release(short: Store):
    await short.reserve(reserve("r1", "0.02", KEY, GLOBAL))
    await short.grow(grow("r1", "0.04"))
    await short.release(release("r1"))
    await flood(short, VOIDED_MAX)
    own = [entry.status for entry in await whole_journal(short) if entry.reservation_id == "r1"]
    assert own == [Status.GROWN, Status.GROWN]
    assert (await audit_report(short)).drift == ()


async def test_f57_the_answer_tells_each_entry_with_its_seq(short: Store):
    """Spans join the journal by seq, and by what the answer tells."""
    held = await short.reserve(reserve("r1", "0.02", KEY, GLOBAL))
    (released,) = [await short.release(release("r1"))]
    assert (released.status, released.seq, released.written) == (Status.RELEASED, 4, 2)
    assert seqs([*held.entries, *released.entries]) == [1, 2, 3, 4]
    assert await whole_journal(short) == [*held.entries, *released.entries]


async def test_f57_pages_meet_where_both_sets_have_records(store: Store):
    """Records of one set stand between those of the other."""
    for number in range(4):
        await store.reserve(reserve(f"long{number}", "0.02"))
        await used(store, f"used{number}")
    for number in range(4):
        await store.release(release(f"long{number}"))
    for page in (1, 2, 3, 100):
        assert seqs(await whole_journal(store, page=page)) == list(range(1, 17))
    assert seqs(await store.latest(count=5)) == [12, 13, 14, 15, 16]
    assert seqs(await store.journal(after_seq=9, count=1)) == [10]


async def test_f57_the_journal_is_as_long_as_before(short: Store):
    for number in range(60):
        await flood(short, 1)
        await used(short, f"used{number}")
    theirs = [entry for entry in await whole_journal(short) if entry.reservation_id.startswith("used")]
    # One record may have made way for what was still pending; a server drops several records at a time.
    assert JOURNAL_MAX - 2 <= len(theirs) <= JOURNAL_MAX + JOURNAL_MAX // 16
    assert theirs[-1].reservation_id == "used59"


@pytest.mark.parametrize("make_store", ["memory"], indirect=True)
async def test_f57_what_came_to_nothing_is_told_as_long_as_an_id_is_known(short: Store, clock: MovableClock):
    await flood(short, 1)
    clock.advance(ms=999)
    assert (await short.head()).seq == len(await whole_journal(short)) == 4
    clock.advance(ms=1)
    await short.head()
    assert await whole_journal(short) == []
    # No seq is given twice.
    assert seqs(await used(short, "next")) == [5, 6]


@in_redis
async def test_f57_the_server_drops_what_came_to_nothing(short: Store):
    assert isinstance(short, ClockedRedisStore)
    await flood(short, 1)
    assert 0 < await short._client().pttl(f"{short._prefix}voided") <= 1_000
    await short._client().delete(f"{short._prefix}voided")
    assert seqs(await used(short, "next")) == [5, 6]
    assert (await audit_report(short)).drift == ()


@in_redis
@pytest.mark.parametrize("value", ["", "many", "-1"])
async def test_f57_a_reservation_that_does_not_know_its_record_is_released(short: Store, value: str):
    """It was made by an earlier version, or somebody changed it: its reserve stays where it is."""
    assert isinstance(short, ClockedRedisStore)
    await short.reserve(reserve("r1", "0.02"))
    await change_word(short, "r:r1", "seq", value)
    assert (await short.release(release("r1"))).status is Status.RELEASED
    assert seqs(await whole_journal(short)) == [1, 2]
    assert (await short.damage(), (await audit_report(short)).drift) == ([], ())


async def test_a_journal_among_which_others_were_voided_is_as_long_as_any(short: Store):
    for number in range(60):
        await used(short, f"used{number}", KEY, GLOBAL)
        await short.reserve(reserve(f"x{number}", "0.02"))
        await short.release(release(f"x{number}"))
    kept = [entry for entry in await whole_journal(short) if not entry.reservation_id.startswith("x")]
    assert kept[-1].seq == 60 * 6 - 2
    assert JOURNAL_MAX <= len(kept) <= JOURNAL_MAX + JOURNAL_MAX // 16 + 1


# What a real server has of a flood.


@pytest.fixture
async def in_use(empty_server_url: str, clock: MovableClock) -> AsyncIterator[ClockedRedisStore]:
    """A store in use: two thousand keys have spent something, and the journal is full."""
    retention = Retention(journal_max=4_000)
    store = ClockedRedisStore(empty_server_url, namespace="in-use", clock_ms=clock, retention=retention)
    for first in range(0, 2_000, 50):
        await asyncio.gather(*(used(store, f"used{n}", *both(f"user{n}")) for n in range(first, first + 50)))
    yield store
    await store.aclose()


def both(key: str) -> list[Target]:
    """The two counters of a key, as `BUDGET_LIMITS=key=10/day; key=100/month` has them."""
    return [target(f"key:{key}", "10", period=Period.DAY), target(f"key:{key}", "100")]


@pytest.mark.timeout(600)
async def test_f56_the_store_is_back_where_it_was_one_remembering_later(in_use: ClockedRedisStore):
    """2,000 tokens here; what is left does not depend on how many there were."""
    client, prefix = in_use._client(), in_use._prefix
    before, others = await used_bytes(in_use), {key async for key in client.scan_iter(match=f"{prefix}[^r]*")}

    async def pass_by(number: int) -> None:
        await in_use.reserve(reserve(f"x{number}", "0.02", *both(f"random{number:08}")))
        await in_use.release(release(f"x{number}"))

    for first in range(0, 2_000, 20):
        # Among others' requests, so that no part of the journal is all theirs.
        await used(in_use, f"more{first}", *both("user1"))
        await asyncio.gather(*map(pass_by, range(first, first + 20)))
    assert not [key async for key in client.scan_iter(match=f"{prefix}*random*")], "no counter is left at any time"
    assert {key async for key in client.scan_iter(match=f"{prefix}[^r]*")} - others == {f"{prefix}voided"}
    remembered = await used_bytes(in_use)
    # The server's clock, not the test's, ends the lives of keys.
    passing = [key async for key in client.scan_iter(match=f"{prefix}r:[xm]*")]
    assert max([await client.pttl(key) for key in passing if ":x" in key]) <= RELEASED_MS
    assert 0 < await client.pttl(f"{prefix}voided") <= Retention().remember_ms
    await client.unlink(*passing, f"{prefix}voided")
    after = await used_bytes(in_use)
    assert after <= 1.02 * before, f"{before} bytes, with ids remembered {remembered}, afterwards {after}"


async def used_bytes(store: ClockedRedisStore) -> int:
    """What the ledger's keys take, by the server's own account: its total also has buffers of connections."""
    client = store._client()
    async with client.pipeline(transaction=False) as pipeline:
        async for key in client.scan_iter(match=f"{store._prefix}*", count=1_000):
            pipeline.memory_usage(key, samples=0)
        return sum(size or 0 for size in await pipeline.execute())


@pytest.mark.parametrize("make_store", ["memory"], indirect=True)
async def test_an_adjustment_of_the_same_id_leaves_a_reserve_to_be_voided(short: Store, clock: MovableClock):
    await short.reserve(reserve("same", "0.02"))
    await short.adjust(adjust("same", "0.01"))
    await short.release(release("same"))
    clock.advance(ms=1_000)
    await short.adjust(adjust("next", "0.01"))
    assert [entry.op for entry in await whole_journal(short)] == ["adjust", "adjust"]
