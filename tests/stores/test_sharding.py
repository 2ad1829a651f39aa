"""A reservation in parts: which shard has which account, and what becomes of the parts, whatever fails between them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import pytest
from msgspec.structs import replace

from budget_middleware.core.answers import Answer
from budget_middleware.core.model import Balance, Target
from budget_middleware.core.statuses import Op, State, Status
from budget_middleware.core.verbs import Expire, Extend
from budget_middleware.core.windows import Period
from budget_middleware.stores.errors import StoreRefused, StoreUnavailable, WrongServer
from budget_middleware.stores.journals import journals_of
from budget_middleware.stores.opening import open_store
from budget_middleware.stores.retention import Retention
from budget_middleware.stores.sharded.shard_map import MAIN, ShardMap
from budget_middleware.stores.sharded.store import ShardedStore
from budget_middleware.testing import MovableClock
from tests.stores.audit import audit
from tests.stores.clocked import ClockedRedisStore
from tests.stores.shards import FaultyShard, opener_of_memory_shards, opener_of_redis_shards
from tests.stores.verbs import adjust, amounts, finalize, grow, release, reserve, target, transfer

SHARDS = ShardMap("team", 4)
USD = 1_000_000_000

KEY = target("key:00000000000000aa", limit="1.00")
SEARCH = target("team:search", limit="1.00")
OTHER = target("team:ads", limit="1.00")
GLOBAL = target("global", limit="5.00")
REQUEST = (GLOBAL, KEY, SEARCH)
OWN = SHARDS.shard_of("search")

OpenWorker = Callable[..., ShardedStore]


@pytest.fixture(params=["memory", "server", "cluster"])
async def open_worker(request: Any, clock: MovableClock, namespace: str) -> AsyncIterator[OpenWorker]:
    """Opens one more worker's store over the same shards."""
    if request.param == "memory":
        opener: Any = opener_of_memory_shards(clock)
    else:
        on_cluster = request.param == "cluster"
        url = request.getfixturevalue("cluster").url if on_cluster else request.getfixturevalue("server_url")
        opener = opener_of_redis_shards(url, namespace=namespace, clock_ms=clock)
    opened: list[ShardedStore] = []

    def open_one(shards: ShardMap = SHARDS) -> ShardedStore:
        opened.append(ShardedStore(shards, lambda name: FaultyShard(opener(None, name))))
        return opened[-1]

    yield open_one
    for store in opened:
        await store.aclose()


@pytest.fixture
async def worker(open_worker: OpenWorker) -> AsyncIterator[ShardedStore]:
    store = open_worker()
    yield store
    await audit(store)


def fails(store: ShardedStore, shard: str, verb: str, *, arrives: bool) -> FaultyShard:
    """The next call of a verb gets no answer from a shard, which gets it or not."""
    faulty = store.shard(shard)
    assert isinstance(faulty, FaultyShard)
    faulty.next_lost[verb] = arrives
    return faulty


async def figures(store: ShardedStore, *targets: Target) -> list[Balance]:
    shown = {view.counter: view.balance for view in await store.counters()}
    return [shown.get(each.counter, Balance()) for each in targets]


def parts_of(answer: Answer) -> list[str]:
    return [part.shard for part in answer.parts]


# Which shard has which account.


@pytest.mark.parametrize(
    ("account", "shard"),
    [
        ("team:search", OWN),
        ("model+team:gpt-4o+search", OWN),
        ("global", MAIN),
        ("model:gpt-4o", MAIN),
        ("tag:nightly", MAIN),
        ("key:-", MAIN),
    ],
)
def test_a_name_says_where_an_account_is(account: str, shard: str):
    assert SHARDS.place_of(account) == shard


async def test_a_request_has_a_part_on_its_own_shard_and_one_where_all_meet(worker: ShardedStore):
    answer = await worker.reserve(reserve("r1", "0.40", *REQUEST))
    assert (answer.status, parts_of(answer)) == (Status.RESERVED, [OWN, MAIN])
    assert answer.balances == (Balance(0, 400_000_000),) * 3
    assert {(entry.counter.account, entry.shard) for entry in answer.entries} == {
        (KEY.account, OWN),
        ("team:search", OWN),
        ("global", MAIN),
    }
    ended = await worker.finalize(finalize("r1", "0.10", *REQUEST))
    assert (ended.status, ended.balances) == (Status.FINALIZED, (Balance(100_000_000, 0),) * 3)
    assert await figures(worker, *REQUEST) == [Balance(100_000_000, 0)] * 3


async def test_a_key_that_moves_to_another_team_stays_where_it_is(open_worker: OpenWorker):
    first, second = open_worker(), open_worker()
    await first.reserve(reserve("r1", "0.40", KEY, SEARCH))
    moved = await second.reserve(reserve("r2", "0.40", KEY, OTHER))
    assert moved.status is Status.RESERVED
    assert set(parts_of(moved)) == {OWN, SHARDS.shard_of("ads")}
    for worker in (first, second):
        assert await figures(worker, KEY, SEARCH, OTHER) == [
            Balance(0, 800_000_000),
            Balance(0, 400_000_000),
            Balance(0, 400_000_000),
        ]
    assert (await second.reserve(reserve("r3", "0.30", KEY, OTHER))).status is Status.REJECTED
    assert [view.counter.account for view in await open_worker().counters(KEY.account)] == [KEY.account]
    await audit(first)


async def test_workers_that_meet_a_key_at_once_agree_on_its_home(open_worker: OpenWorker):
    workers = [open_worker() for _ in range(4)]
    teams = [target(f"team:t{number}") for number in range(4)]
    answers = await asyncio.gather(
        *[
            worker.reserve(reserve(f"r{number}", "0.25", KEY, team))
            for number, (worker, team) in enumerate(zip(workers, teams, strict=True))
        ]
    )
    assert {answer.status for answer in answers} == {Status.RESERVED}
    assert await figures(workers[0], KEY) == [Balance(0, USD)]
    assert len([view for view in await workers[0].counters() if view.counter.account == KEY.account]) == 1
    await audit(workers[0])


async def test_a_compound_goes_where_its_first_own_account_goes(worker: ShardedStore):
    compound = target("key+model:00000000000000aa+gpt-4o")
    answer = await worker.reserve(reserve("r1", "0.10", compound, KEY, SEARCH))
    assert parts_of(answer) == [OWN]


# A part that is refused.


@pytest.mark.proves("I5")
async def test_what_a_refused_reserve_held_on_an_earlier_part_is_gone(worker: ShardedStore):
    await worker.reserve(reserve("r0", "4.80", GLOBAL))
    refused = await worker.reserve(reserve("r1", "0.40", *REQUEST))
    assert refused.rejection is not None
    assert (refused.status, refused.rejection.target.account) == (Status.REJECTED, "global")
    assert [(entry.op, entry.shard) for entry in refused.entries] == [(Op.RESERVE, OWN)] * 2 + [(Op.RELEASE, OWN)] * 2
    assert await figures(worker, KEY, SEARCH) == [Balance()] * 2
    assert await worker.reservation("r1") is None


@pytest.mark.proves("I10")
async def test_a_refusal_is_not_remembered_on_any_part(open_worker: OpenWorker):
    first, second = open_worker(), open_worker()
    await first.reserve(reserve("r0", "4.80", GLOBAL))
    assert (await first.reserve(reserve("r1", "0.40", *REQUEST))).status is Status.REJECTED
    await first.release(release("r0"))
    for worker in (second, first):
        answer = await worker.reserve(reserve("r1", "0.40", *REQUEST))
        assert answer.admits
    assert await figures(first, *REQUEST) == [Balance(0, 400_000_000)] * 3
    await audit(first)


async def test_a_refusal_by_the_own_shard_asks_no_other(worker: ShardedStore):
    answer = await worker.reserve(reserve("r1", "1.40", *REQUEST))
    assert (answer.status, parts_of(answer)) == (Status.REJECTED, [OWN])


async def test_shadow_mode_holds_on_all_parts_and_names_what_would_refuse(worker: ShardedStore):
    answer = await worker.reserve(reserve("r1", "6.00", GLOBAL, target("team:search"), enforce=False))
    assert answer.admits
    assert answer.rejection is not None
    assert answer.rejection.target.account == "global"


@pytest.mark.proves("I8")
async def test_where_the_undo_gets_no_answer_the_id_is_not_decided_again(worker: ShardedStore):
    await worker.reserve(reserve("r0", "4.80", GLOBAL))
    faulty = fails(worker, OWN, "release", arrives=False)
    with pytest.raises(StoreUnavailable):
        await worker.reserve(reserve("r1", "0.40", *REQUEST))
    with pytest.raises(StoreUnavailable):
        await worker.reserve(reserve("r1", "0.40", *REQUEST))
    # Its caller gives up and releases it; the undo comes late, and finds nothing to take.
    assert (await worker.release(release("r1"))).status is Status.RELEASED
    await faulty.deliver_late()
    assert await figures(worker, KEY, SEARCH) == [Balance()] * 2
    assert not (await worker.reserve(reserve("r0", "4.80", *REQUEST))).admits


# Whoever dies, or gets no answer, between two parts.


@pytest.mark.parametrize("arrives", [True, False])
@pytest.mark.proves("I10")
async def test_the_same_id_asked_again_completes_it(open_worker: OpenWorker, arrives: bool):
    first, second = open_worker(), open_worker()
    fails(first, MAIN, "reserve", arrives=arrives)
    with pytest.raises(StoreUnavailable):
        await first.reserve(reserve("r1", "0.40", *REQUEST))
    for worker in (first, second):
        answer = await worker.reserve(reserve("r1", "0.40", *REQUEST))
        assert answer.status is Status.DUPLICATE
        assert answer.recorded is not None
        assert (answer.admits, answer.recorded.targets) == (True, REQUEST)
    assert await figures(first, *REQUEST) == [Balance(0, 400_000_000)] * 3
    await audit(first)


@pytest.mark.proves("I7")
async def test_the_lease_of_each_part_ends_by_itself(open_worker: OpenWorker, clock: MovableClock):
    dead, other = open_worker(), open_worker()
    fails(dead, MAIN, "reserve", arrives=False)
    with pytest.raises(StoreUnavailable):
        await dead.reserve(reserve("r1", "0.40", *REQUEST, charge="0.05"))
    (held,) = await other.holds()
    assert (held.id, {each.account for each in held.targets}) == ("r1", {KEY.account, "team:search"})
    clock.advance(s=60)
    swept = await other.sweep(at_most=10)
    assert (swept.status, {entry.shard for entry in swept.entries}) == (Status.EXPIRED, {OWN})
    assert await figures(other, *REQUEST) == [Balance(), Balance(50_000_000, 0), Balance(50_000_000, 0)]
    # What it cost is booked late where it was held, and where nobody had heard of it.
    ended = await other.finalize(finalize("r1", "0.30", *REQUEST))
    assert ended.status is Status.FINALIZED_UNRESERVED
    assert await figures(other, *REQUEST) == [Balance(300_000_000, 0)] * 3
    await audit(other)


async def test_a_sweep_expires_no_more_than_it_is_asked_on_all_shards_together(
    worker: ShardedStore, clock: MovableClock
):
    for number in range(4):
        await worker.reserve(reserve(f"r{number}", "0.10", *REQUEST))
    clock.advance(s=60)
    sweeps = [await worker.sweep(at_most=4)]
    while sweeps[-1].status is Status.LEASES_DUE:
        sweeps.append(await worker.sweep(at_most=4))
    expired = [[(entry.shard, entry.reservation_id) for entry in answer.entries] for answer in sweeps]
    assert max(len(set(each)) for each in expired) <= 4
    assert len(set().union(*expired)) == 8
    assert await figures(worker, *REQUEST) == [Balance()] * 3


@pytest.mark.parametrize("ending", [finalize("r1", "0.10", *REQUEST), release("r1")], ids=["finalize", "release"])
@pytest.mark.parametrize("arrives", [True, False])
@pytest.mark.parametrize("shard", [OWN, MAIN])
@pytest.mark.proves("I3", "I4")
async def test_an_ending_is_owed_until_each_part_has_answered(
    worker: ShardedStore, ending: Any, arrives: bool, shard: str
):
    await worker.reserve(reserve("r1", "0.40", *REQUEST))
    send = worker.finalize if ending.op is Op.FINALIZE else worker.release
    fails(worker, shard, str(ending.op), arrives=arrives)
    with pytest.raises(StoreUnavailable):
        await send(ending)
    await send(ending)
    spent = 100_000_000 if ending.op is Op.FINALIZE else 0
    assert await figures(worker, *REQUEST) == [Balance(spent, 0)] * 3


async def test_heartbeats_keep_each_part_and_growth_reaches_it(worker: ShardedStore, clock: MovableClock):
    await worker.reserve(reserve("r1", "0.40", *REQUEST))
    clock.advance(s=40)
    assert (await worker.extend(Extend("r1", lease_ms=60_000))).status is Status.EXTENDED
    clock.advance(s=40)
    grown = await worker.grow(grow("r1", "0.90"))
    assert (grown.status, grown.balances) == (Status.GROWN, (Balance(0, 900_000_000),) * 3)


async def test_whoever_knows_only_an_id_reaches_all_its_parts(open_worker: OpenWorker):
    owner, operator = open_worker(), open_worker()
    await owner.reserve(reserve("r1", "0.40", *REQUEST))
    await owner.reserve(reserve("r2", "0.40", *REQUEST))
    assert (await operator.expire(Expire("r1", reason="stuck"))).status is Status.EXPIRED
    assert (await operator.release(release("r2"))).status is Status.RELEASED
    assert (await operator.expire(Expire("r3"))).status is Status.UNKNOWN
    assert await figures(owner, *REQUEST) == [Balance()] * 3
    known = await operator.reservation("r1")
    assert known is not None
    assert (known.state, len(known.targets)) == (State.EXPIRED, 3)
    await audit(owner)


async def test_a_bill_stands_in_the_journal_of_one_shard(worker: ShardedStore):
    answer = await worker.finalize(replace(finalize("r1", "0.10", *REQUEST), bill="a bill"))
    assert {(entry.shard, entry.bill) for entry in answer.entries} == {(OWN, "a bill"), (MAIN, "")}


# Limits, which the main shard keeps for all.


@pytest.mark.proves("I6")
async def test_no_shard_takes_a_reserve_that_knows_older_limits(open_worker: OpenWorker):
    operator, worker = open_worker(), open_worker()
    stale = reserve("r1", "0.10", KEY, SEARCH)
    version = await operator.set_limit("team:search", period=Period.MONTH, limit_nanos=USD)
    assert (await worker.reserve(stale)).status is Status.STALE_LIMITS
    assert (await worker.reserve(reserve("r1", "0.10", KEY, SEARCH, version=version))).status is Status.RESERVED


async def test_a_shard_that_knows_other_limits_than_the_main_one_is_told(worker: ShardedStore):
    version = await worker.set_limit("team:search", period=Period.MONTH, limit_nanos=USD)
    for wrong in (version + 7, 3):
        await worker.shard(OWN).follow_limits(wrong, instead_of=(await worker.shard(OWN).head()).limits_version)
        answer = await worker.reserve(reserve(f"r{wrong}", "0.10", KEY, SEARCH, version=version))
        assert answer.status is Status.RESERVED
    await worker.shard(OWN).follow_limits(version - 1)
    assert (await worker.shard(OWN).head()).limits_version == version


async def test_a_sweep_tells_a_shard_what_a_change_could_not(worker: ShardedStore):
    fails(worker, OWN, "follow_limits", arrives=False)
    with pytest.raises(StoreUnavailable):
        await worker.set_limit("team:search", period=Period.MONTH, limit_nanos=USD)
    await worker.sweep(at_most=1)
    assert (await worker.reserve(reserve("r1", "0.10", KEY, SEARCH))).status is Status.STALE_LIMITS


# What operators do.


async def test_an_adjustment_is_made_on_each_shard_once(worker: ShardedStore):
    verb = adjust("a1", "0.10", *REQUEST)
    fails(worker, MAIN, "adjust", arrives=False)
    with pytest.raises(StoreUnavailable):
        await worker.adjust(verb)
    assert [(await worker.adjust(verb)).status for _ in range(2)] == [Status.ADJUSTED, Status.DUPLICATE]
    assert await figures(worker, *REQUEST) == [Balance(100_000_000, 0)] * 3


async def test_a_transfer_is_one_step_or_refused(worker: ShardedStore):
    await worker.reserve(reserve("r1", "0", KEY, SEARCH))
    assert (await worker.transfer(transfer("t1", "0.10", SEARCH, KEY))).status is Status.TRANSFERRED
    with pytest.raises(StoreRefused, match="no transfer is one step between shards"):
        await worker.transfer(transfer("t2", "0.10", SEARCH, GLOBAL))


async def test_operators_read_all_shards(open_worker: OpenWorker):
    worker = open_worker()
    for number, team in enumerate((SEARCH, OTHER)):
        await worker.reserve(reserve(f"r{number}", "0.10", GLOBAL, team))
    operator = open_worker()
    assert [hold.id for hold in await operator.holds()] == ["r0", "r1"]
    assert sum((await operator.reserved_by_kind()).values()) == amounts("0.40").usd
    assert (await operator.head()).seq == 4
    latest = await operator.latest(count=3)
    assert len(latest) == 3
    assert {entry.shard for entry in await operator.latest(count=9)} == {OWN, SHARDS.shard_of("ads"), MAIN}
    assert [entry.counter.account for entry in await operator.latest(count=9, account="global")] == ["global"] * 2
    assert set(await journals_of(operator)) == set(SHARDS.names)
    with pytest.raises(StoreRefused, match="each of them has one"):
        await operator.journal(after_seq=0, count=1)
    await operator.check()
    assert await operator.damage() == []


# A ledger keeps its shards.


async def test_a_ledger_is_not_sharded_in_another_way(open_worker: OpenWorker):
    await open_worker().reserve(reserve("r1", "0.10", *REQUEST))
    other = open_worker(ShardMap("org", 4))
    with pytest.raises(WrongServer, match=r"sharded by team/4.*BUDGET_SHARD_BY='org/4'.*migrate"):
        await other.reserve(reserve("r2", "0.10", *REQUEST))


async def test_a_ledger_with_one_store_is_not_sharded_later_and_the_other_way_round(
    server_url: str, namespace: str, clock: MovableClock
):
    plain = ClockedRedisStore(server_url, namespace=namespace, clock_ms=clock)
    opener = opener_of_redis_shards(server_url, namespace=namespace, clock_ms=clock)
    sharded = ShardedStore(SHARDS, partial(opener, None))
    await plain.check()
    await plain.reserve(reserve("r1", "0.10", KEY))
    with pytest.raises(WrongServer, match=r"not sharded.*BUDGET_SHARD_BY='team/4'"):
        await sharded.check()
    await plain.forget_everything()
    await sharded.check()
    with pytest.raises(WrongServer, match="sharded by team/4"):
        await plain.check()
    await plain.aclose()
    await sharded.aclose()


@pytest.mark.parametrize("url", ["sqlite:///budget.db", "postgresql://user@host/db"])
def test_a_database_is_one_shard(url: str):
    with pytest.raises(ValueError, match=r"^BUDGET_SHARD_BY is accepted with Redis only: a database is one shard$"):
        open_store(url, namespace="budget", timeout_s=1, retention=Retention(), shards=SHARDS)


async def test_shards_are_no_neighbours_of_their_own_ledger(server_url: str, namespace: str, clock: MovableClock):
    opener = opener_of_redis_shards(server_url, namespace=namespace, clock_ms=clock)
    store = ShardedStore(SHARDS, partial(opener, None))
    await store.head()
    assert not [name for name in await store.neighbours() if name.startswith(namespace)]
    await store.aclose()


async def test_a_main_shard_that_was_emptied_is_told_again(open_worker: OpenWorker, clock: MovableClock):
    worker = open_worker()
    await worker.reserve(reserve("r1", "0.10", *REQUEST))
    main: Any = worker.shard(MAIN)
    await main.empty(clock)
    await worker.finalize(finalize("r1", "0.10", *REQUEST))
    assert await figures(worker, *REQUEST) == [Balance(100_000_000, 0)] * 3
    assert (await worker.shard(MAIN).record_shards("")).spec == "team/4"


async def test_of_requests_that_meet_on_two_shards_one_goes_on(worker: ShardedStore):
    """Parts are made in one order: no two requests refuse each other."""
    last_of_key, last_of_all = target(KEY.account, "0.40"), target("global", "0.40")
    asked = [worker.reserve(reserve(f"r{number}", "0.40", last_of_all, last_of_key, SEARCH)) for number in range(5)]
    statuses = sorted(answer.status for answer in await asyncio.gather(*asked))
    assert statuses == [Status.REJECTED] * 4 + [Status.RESERVED]
