"""Restoring a lost store: to the nano-dollar what its history says, whatever workers send again meanwhile."""

import asyncio
from collections import Counter as Tally

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budget_middleware.core.answers import Entry
from budget_middleware.core.model import Counter
from budget_middleware.core.statuses import BOOKED_BY_HAND, Op, Status
from budget_middleware.core.verbs import Finalize
from budget_middleware.core.windows import Period
from budget_middleware.history.booking_rows import RESTORE_REASON
from budget_middleware.opening import operators_ledger_of
from budget_middleware.operations.context import OperatorContext
from budget_middleware.operations.errors import OperationError
from budget_middleware.operations.history_state import copy_history
from budget_middleware.operations.restores import restore
from budget_middleware.settings_loading import load
from budget_middleware.stores.base import Store
from budget_middleware.stores.errors import StoreUnavailable
from budget_middleware.stores.memory.store import MemoryStore
from budget_middleware.stores.sharded.memory_shard import MemoryShard
from budget_middleware.stores.sharded.shard_map import ShardMap
from budget_middleware.stores.sharded.store import ShardedStore
from budget_middleware.testing import MovableClock
from tests.history.histories import LEDGER, Histories, lose, spent_in
from tests.history.traffic import Traffic
from tests.stores import replicas
from tests.stores.audit import audit_report
from tests.stores.verbs import KEY, finalize, release, reserve, target, whole_journal


def context_of(store: Store, histories: Histories, **more) -> OperatorContext:
    loaded = load(history_url=histories.url, namespace=LEDGER, **more)
    return OperatorContext(loaded, store, operators_ledger_of(loaded, store))


def expected(lost: dict[Counter, int], copied: list[Entry], since: list[Entry]) -> dict[Counter, int]:
    """What the lost store had booked, and what was booked since that it had not."""
    sums = Tally(lost)
    ended = {entry.reservation_id for entry in copied if entry.op is Op.FINALIZE}
    charged = [entry for entry in copied if entry.status is Status.EXPIRED and entry.reservation_id not in ended]
    ends = {entry.reservation_id for entry in since if entry.op is Op.FINALIZE}
    for entry in since:
        if entry.reservation_id not in ended and not entry.reason.startswith(RESTORE_REASON):
            sums[entry.counter] += entry.spent_delta
    for entry in charged:
        # Its late ending, in the new store, replaces what the expiry had booked.
        if entry.reservation_id in ends:
            sums[entry.counter] -= entry.spent_delta
    return {counter: spent for counter, spent in sums.items() if spent}


async def test_an_empty_store_shows_again_what_was_booked(open_store, clock, histories):
    store, traffic = await open_store(), Traffic(clock, seed=1)
    await store.set_limit("team:t", period=Period.MONTH, limit_nanos=5)
    await store.set_limit("team:*", period=Period.DAY, limit_nanos=None)
    limits = (await store.limits()).limits
    copier = histories.copier(store)
    await traffic.play(store, 150)
    await copier.copy_all()
    lost = await spent_in(store)
    await lose(store)
    before = await whole_journal(store)
    looked = await restore(context_of(store, histories), is_dry_run=True)
    assert await whole_journal(store) == before
    done = await restore(context_of(store, histories))
    assert await spent_in(store) == lost
    assert looked == done
    assert len(done.counters) == len(lost)
    assert done.endings == len([ending for ending in traffic.ended if any(ending.actual)])
    assert (await store.limits()).limits == limits
    assert (await audit_report(store)).drift == ()
    again = await restore(context_of(store, histories), is_live=True)
    assert await spent_in(store) == lost
    assert (again.counters, again.endings) == ((), 0)
    await copier.copy_all()
    assert (await restore(context_of(store, histories), is_live=True)).counters == ()
    assert histories.booked_nanos() == sum(ending.actual.usd for ending in traffic.ended) + adjusted_nanos(histories)


def adjusted_nanos(histories: Histories) -> int:
    """What operators adjusted, and expiries charged, once each whatever number of counters it was booked on."""
    steps = {
        (entry.reservation_id, entry.status): entry.spent_delta
        for entry in histories.entries()
        if entry.counter.unit == "usd" and not entry.reason.startswith(RESTORE_REASON)
        if entry.status in {*BOOKED_BY_HAND, Status.EXPIRED, Status.FINALIZED_LATE}
    }
    late = {id_ for id_, status in steps if status is Status.FINALIZED_LATE}
    return sum(
        delta
        for (id_, status), delta in steps.items()
        if status is not Status.FINALIZED_LATE and not (status is Status.EXPIRED and id_ in late)
    )


class FaultyCalls:
    """A store that gives no answer to the n-th booking, which it may have applied."""

    def __init__(self, store: Store, *, fails_at: int, is_applied: bool) -> None:
        self._store = store
        self._left = fails_at
        self._is_applied = is_applied

    def __getattr__(self, name):
        method = getattr(self._store, name)
        return method if name not in {"adjust", "finalize"} else lambda verb: self._book(method, verb)

    async def _book(self, method, verb):
        self._left -= 1
        if self._left == 0 and not self._is_applied:
            raise StoreUnavailable("no answer")
        answer = await method(verb)
        if self._left == 0:
            raise StoreUnavailable("no answer")
        return answer


ALMOST_REMEMBERED_S = 3_590

stories = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 10_000),
        "n_before": st.integers(5, 80),
        "replayed_first": st.booleans(),
        "n_live": st.integers(0, 25),
        "fails_at": st.integers(1, 60),
        "is_applied": st.booleans(),
        "passes_s": st.sampled_from([0, 60, ALMOST_REMEMBERED_S, 4_000, 90_000]),
        "is_copied_since": st.booleans(),
    }
)


@settings(max_examples=30)
@given(story=stories)
def test_each_nano_dollar_is_booked_once_whatever_happens_meanwhile(tmp_path_factory, story):
    """Replays before and after, live requests, an interrupted restore, one that comes late, a store that fell back."""
    asyncio.run(_play(tmp_path_factory.mktemp("history"), **story))


async def _play(folder, *, seed, n_before, replayed_first, n_live, fails_at, is_applied, passes_s, is_copied_since):
    clock, histories = MovableClock(), Histories(f"sqlite:///{folder}/history.db")
    store, traffic = MemoryStore(clock_ms=clock), Traffic(clock, seed=seed)
    copier = histories.copier(store)
    await traffic.play(store, n_before)
    await copier.copy_all()
    lost, copied = await spent_in(store), histories.entries()
    await lose(store)
    replays = [ending for ending in traffic.ended if clock() - ending_ms(copied, ending.id) <= 300_000]
    if replayed_first:
        await _replay(store, replays)
    await traffic.play(store, n_live)
    clock.advance(s=passes_s)
    if is_copied_since:
        await copier.copy_all()
        await traffic.play(store, 3)
    faulty = FaultyCalls(store, fails_at=fails_at, is_applied=is_applied)
    try:
        await restore(context_of(faulty, histories), is_live=True)
    except StoreUnavailable:
        await traffic.play(store, 5)
        if passes_s == ALMOST_REMEMBERED_S:
            clock.advance(s=20)
        await restore(context_of(store, histories), is_live=True)
    if passes_s < 1_000:
        await _replay(store, replays)
    await restore(context_of(store, histories), is_live=True)
    assert await spent_in(store) == expected(lost, copied, await whole_journal(store))
    assert (await audit_report(store)).drift == ()
    histories.close()


def ending_ms(copied: list[Entry], id_: str) -> int:
    return max((entry.time_ms for entry in copied if entry.reservation_id == id_), default=0)


async def _replay(store: Store, endings) -> None:
    for ending in endings:
        await store.finalize(ending)


async def test_a_store_with_counters_is_left_alone_unless_it_is_live(clock, histories):
    store = MemoryStore(clock_ms=clock)
    await store.finalize(finalize("r1", "0.10"))
    await histories.copier(store).copy_all()
    await lose(store)
    await store.finalize(finalize("r2", "0.20"))
    with pytest.raises(OperationError, match=r"the store has 1 counter already; add --live"):
        await restore(context_of(store, histories))
    await restore(context_of(store, histories), is_live=True)
    assert await spent_in(store) == {KEY.counter: 300_000_000}


async def test_nothing_is_restored_where_nothing_was_lost(clock, histories):
    store = MemoryStore(clock_ms=clock)
    histories.database()
    with pytest.raises(OperationError, match="the history has nothing of this namespace"):
        await restore(context_of(store, histories))
    await store.finalize(finalize("r1", "0.10"))
    await histories.copier(store).copy_all()
    with pytest.raises(OperationError, match="nothing was lost"):
        await restore(context_of(store, histories))
    with pytest.raises(OperationError, match="BUDGET_HISTORY_URL is not set"):
        await restore(context_of(store, Histories("")))


async def test_what_was_held_is_not_restored_and_ends_by_itself(open_store, clock, histories):
    store = await open_store()
    await store.reserve(reserve("held", "0.30"))
    await store.reserve(reserve("returned", "0.30"))
    await store.finalize(finalize("done", "0.10"))
    await histories.copier(store).copy_all()
    await lose(store)
    await restore(context_of(store, histories))
    assert await store.holds() == []
    late = await store.finalize(finalize("held", "0.20"))
    await store.release(release("returned"))
    assert late.status is Status.FINALIZED_UNRESERVED
    assert await spent_in(store) == {KEY.counter: 300_000_000}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("n_since", [0, 60])
async def test_what_a_store_lost_that_fell_back_is_booked_again(clock, histories, seed, n_since):
    """As after a failover to a replica that was behind: its generation is the same, and its seqs are used again."""
    store, traffic = MemoryStore(clock_ms=clock), Traffic(clock, seed=seed)
    copier = histories.copier(store)
    await traffic.play(store, 60)
    await traffic.finish(store)
    earlier, common = replicas.snapshot_of(store), await whole_journal(store)
    await traffic.play(store, 60)
    await traffic.finish(store)
    await copier.copy_all()
    lost, copied = await spent_in(store), histories.entries()
    replicas.restore(store, earlier)
    await _replay(store, traffic.ended[-5:])
    await Traffic(clock, seed=seed + 100).play(store, n_since)
    await copier.copy_all()
    done = await restore(context_of(store, histories), is_live=True)
    assert "#" not in done.generation
    since = [entry for entry in await whole_journal(store) if entry.seq > common[-1].seq]
    assert await spent_in(store) == expected(lost, copied, since)
    await _replay(store, traffic.ended)
    assert await spent_in(store) == expected(lost, copied, since)
    assert (await audit_report(store)).drift == ()


class Shards:
    """A store over shards in memory, which a test may lose."""

    def __init__(self, clock: MovableClock) -> None:
        self.clock = clock
        self.shards: dict[str, MemoryShard] = {}
        self.lose()

    def lose(self, *names: str) -> None:
        """All of them, or those that are named: as a node of a cluster that comes back empty."""
        self.shards = {name: shard for name, shard in self.shards.items() if names and name not in names}
        self.store = ShardedStore(
            ShardMap("team", 4), lambda name: self.shards.setdefault(name, MemoryShard(clock_ms=self.clock))
        )

    async def audit(self) -> None:
        for name, shard in self.shards.items():
            assert (await audit_report(shard)).drift == (), name


async def booked_in_teams(store: Store, n_requests: int) -> list[Finalize]:
    """Requests of four teams, which have counters on their own shards and on the main one."""
    endings = []
    for number in range(n_requests):
        targets = (target("global"), target(f"team:{number % 4}"), target(f"key:{number % 4:016x}"))
        await store.reserve(reserve(f"s{number}", "0.10", *targets))
        endings.append(finalize(f"s{number}", f"0.0{number % 7 + 1}", *targets))
        await store.finalize(endings[-1])
    return endings


@pytest.mark.parametrize("lost_shards", [(), ("main",), ("00", "02")], ids=["all", "main", "two"])
@pytest.mark.parametrize("passes_s", [0, 4_000])
async def test_a_ledger_with_shards_is_restored(clock, histories, lost_shards, passes_s):
    shards = Shards(clock)
    endings = await booked_in_teams(shards.store, 20)
    await shards.store.set_limit("team:1", period=Period.MONTH, limit_nanos=5)
    limits = (await shards.store.limits()).limits
    context = context_of(shards.store, histories)
    await copy_history(context)
    booked = await spent_in(shards.store)
    shards.lose(*lost_shards)
    context = context_of(shards.store, histories)
    await _replay(shards.store, endings[-5:])
    clock.advance(s=passes_s)
    await restore(context, is_live=True)
    assert await spent_in(shards.store) == booked
    if not passes_s:
        await _replay(shards.store, endings)
    assert (await restore(context, is_live=True)).counters == ()
    await copy_history(context)
    assert (await restore(context, is_live=True)).counters == ()
    assert await spent_in(shards.store) == booked
    assert (await shards.store.limits()).limits == limits
    await shards.audit()
