"""One suite over every store: what each verb answers in each state, and what the counters show then."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from budget_middleware.core.model import Balance
from budget_middleware.core.statuses import RETURNS_RECORDED, State, Status
from budget_middleware.core.units import Amounts
from budget_middleware.core.verbs import Expire, Extend
from budget_middleware.core.windows import Period
from budget_middleware.stores.base import Store
from budget_middleware.stores.retention import Retention
from budget_middleware.testing import MovableClock
from tests.stores.conftest import CLUSTER, FAKE, SHARDED, STORES
from tests.stores.verbs import (
    HOUR_MS,
    KEY,
    START_MS,
    Verb,
    adjust,
    figures,
    finalize,
    grow,
    release,
    reserve,
    send,
    target,
)

pytestmark = pytest.mark.parametrize("make_store", [*STORES, FAKE, SHARDED, CLUSTER], indirect=True)

TEAM = target("team:b")
HELD = reserve("r1", "0.60", charge="0.05", trace="00-1-1-01")

# How a reservation comes into each state; `due` is expired too, only nobody has noticed yet.
STATES: dict[str, State | None] = {
    "unknown": None,
    "pending": State.PENDING,
    "finalized": State.FINALIZED,
    "released": State.RELEASED,
    "expired": State.EXPIRED,
    "due": State.EXPIRED,
}


async def bring_into(state: str, *, store: Store, clock: MovableClock) -> None:
    if state != "unknown":
        await store.reserve(HELD)
    if state == "finalized":
        await store.finalize(finalize("r1", "0.10"))
    if state == "released":
        await store.release(release("r1"))
    if state in ("expired", "due"):
        clock.advance(s=60)
    if state == "expired":
        await store.sweep(at_most=10)


VERBS: dict[str, Verb] = {
    "reserve, same": HELD,
    "reserve, other amount": reserve("r1", "0.50"),
    "reserve, other account": reserve("r1", "0.60", TEAM),
    "reserve, one more account": reserve("r1", "0.60", KEY, TEAM),
    "finalize": finalize("r1", "0.20"),
    "release": release("r1"),
    "extend": Extend("r1", lease_ms=60_000),
    "grow": grow("r1", "0.90"),
    "grow to less": grow("r1", "0.30"),
    "expire": Expire("r1", reason="test"),
}

CONFLICTS = """
    pending   conflict  0.00 0.60 | finalized conflict  0.10 0.00 | released  conflict  0.00 0.00
    expired   conflict  0.05 0.00 | due       conflict  0.05 0.00 """

# State, answer, then S and R of the account; the table of the design, with an operator's expire as its last row.
TABLE = {
    "reserve, same": """
    unknown   reserved  0.00 0.60 | pending   duplicate 0.00 0.60 | finalized duplicate 0.10 0.00
    released  duplicate 0.00 0.00 | expired   duplicate 0.05 0.00 | due       duplicate 0.05 0.00 """,
    "reserve, other amount": CONFLICTS,
    "reserve, other account": CONFLICTS,
    "reserve, one more account": CONFLICTS,
    "finalize": """
    unknown   finalized_unreserved 0.20 0.00 | pending   finalized        0.20 0.00
    finalized already_finalized    0.10 0.00 | released  already_released 0.00 0.00
    expired   finalized_late       0.20 0.00 | due       finalized_late   0.20 0.00 """,
    "release": """
    unknown   released_unknown     0.00 0.00 | pending   released         0.00 0.00
    finalized already_finalized    0.10 0.00 | released  already_released 0.00 0.00
    expired   released_late        0.00 0.00 | due       released_late    0.00 0.00 """,
    "extend": """
    unknown   unknown              0.00 0.00 | pending   extended         0.00 0.60
    finalized already_finalized    0.10 0.00 | released  already_released 0.00 0.00
    expired   already_expired      0.05 0.00 | due       already_expired  0.05 0.00 """,
    "grow": """
    unknown   unknown              0.00 0.00 | pending   grown            0.00 0.90
    finalized already_finalized    0.10 0.00 | released  already_released 0.00 0.00
    expired   already_expired      0.05 0.00 | due       already_expired  0.05 0.00 """,
    "grow to less": """
    unknown   unknown              0.00 0.00 | pending   grown            0.00 0.60
    finalized already_finalized    0.10 0.00 | released  already_released 0.00 0.00
    expired   already_expired      0.05 0.00 | due       already_expired  0.05 0.00 """,
    "expire": """
    unknown   unknown              0.00 0.00 | pending   expired          0.00 0.00
    finalized already_finalized    0.10 0.00 | released  already_released 0.00 0.00
    expired   already_expired      0.05 0.00 | due       already_expired  0.05 0.00 """,
}
CELLS = [
    (verb, *cell.split()) for verb, row in TABLE.items() for cell in row.replace("\n", " | ").split("|") if cell.split()
]

# What the same verb answers when it comes again; all others repeat themselves.
AGAIN = {
    Status.RESERVED: Status.DUPLICATE,
    Status.FINALIZED: Status.ALREADY_FINALIZED,
    Status.FINALIZED_LATE: Status.ALREADY_FINALIZED,
    Status.FINALIZED_UNRESERVED: Status.ALREADY_FINALIZED,
    Status.RELEASED: Status.ALREADY_RELEASED,
    Status.RELEASED_LATE: Status.ALREADY_RELEASED,
    Status.RELEASED_UNKNOWN: Status.ALREADY_RELEASED,
    Status.EXPIRED: Status.ALREADY_EXPIRED,
    Status.ADJUSTED: Status.DUPLICATE,
}


@pytest.mark.proves("I3", "I10")
@pytest.mark.parametrize("cell", CELLS, ids=" ".join)
async def test_the_table_of_verbs_and_states(store: Store, clock: MovableClock, cell: tuple[str, ...]):
    verb, state, status, spent, reserved = cell
    await bring_into(state, store=store, clock=clock)

    answer = await send(store, VERBS[verb])
    assert answer.status == status
    assert await figures(store) == (spent, reserved)
    assert await figures(store, TEAM) == ("0.00", "0.00")
    if answer.status in RETURNS_RECORDED:
        assert answer.recorded is not None
        assert answer.recorded.state is STATES[state]
        assert answer.recorded.asked == HELD.asked
    else:
        assert answer.recorded is None
    assert answer.admits == (answer.status is Status.RESERVED or (verb, state) == ("reserve, same", "pending"))

    again = await send(store, VERBS[verb])
    assert again.status == AGAIN.get(answer.status, answer.status)
    assert again.entries == ()
    assert await figures(store) == (spent, reserved)


async def test_a_reservation_is_recorded_as_it_was_made(store: Store):
    await store.reserve(HELD)
    (held,) = await store.holds()
    assert (held.id, held.state, held.targets) == ("r1", State.PENDING, HELD.targets)
    assert (held.asked, held.held, held.expiry_charge) == (HELD.asked, HELD.asked, HELD.expiry_charge)
    assert (held.created_ms, held.deadline_ms, held.trace) == (START_MS, START_MS + 60_000, "00-1-1-01")
    assert (await store.reserve(HELD)).recorded == held


async def test_an_already_ended_reservation_tells_what_it_cost(store: Store):
    await store.reserve(HELD)
    await store.finalize(finalize("r1", "0.10"))
    recorded = (await store.finalize(finalize("r1", "0.20"))).recorded
    assert recorded is not None
    assert (recorded.actual, recorded.booked, recorded.held) == (Amounts(usd=100_000_000),) * 2 + (Amounts(),)


async def test_same_accounts_in_another_order_and_with_another_period_are_the_same(store: Store):
    day = target(limit="1.00", period=Period.DAY)
    await store.reserve(reserve("r1", "0.60", KEY, TEAM))
    again = await store.reserve(reserve("r1", "0.60", TEAM, KEY, day, lease_s=5, charge="0.60"))
    assert (again.status, again.admits) == (Status.DUPLICATE, True)
    assert again.balances == (Balance(0, 600_000_000),) * 2


@pytest.mark.proves("I10")
async def test_a_repeat_is_told_its_fate_although_window_and_limits_have_moved_on(store: Store, clock: MovableClock):
    hour = target(limit="1.00", period=Period.HOUR)
    verb = reserve("r1", "0.60", hour, lease_s=7200)
    await store.reserve(verb)
    await store.set_limit("key:a", period=Period.HOUR, limit_nanos=0)
    clock.advance(s=3600)
    assert (await store.reserve(verb)).admits


# Tombstones and what comes too late.


@pytest.mark.proves("I3", "I10")
@pytest.mark.parametrize("ending", [release("r1"), finalize("r1", "0.10")], ids=["release", "finalize"])
@pytest.mark.parametrize("late", [HELD, reserve("r1", "0.01", TEAM)], ids=["same", "other"])
async def test_a_delayed_reserve_after_its_ending_holds_nothing(store: Store, ending: Verb, late: Verb):
    await send(store, ending)
    before = await figures(store)
    answer = await send(store, late)
    assert (answer.status, answer.admits, answer.entries) == (Status.DUPLICATE, False, ())
    assert await figures(store) == before
    assert await figures(store, TEAM) == ("0.00", "0.00")
    assert await store.holds() == []


async def test_an_ending_older_than_what_is_remembered_changes_nothing(open_store: Callable[..., Store]):
    store = open_store(Retention(remember_ms=1000))
    for verb in (finalize("r1", "0.10", age_ms=1001), release("r1", age_ms=1001)):
        answer = await send(store, verb)
        assert (answer.status, answer.entries, answer.balances) == (Status.TOO_OLD, (), ())
    assert await store.counters() == []
    assert (await store.reserve(HELD)).status is Status.RESERVED


async def test_age_matters_only_for_an_unknown_id(open_store: Callable[..., Store]):
    store = open_store(Retention(remember_ms=1000))
    await store.reserve(HELD)
    assert (await store.finalize(finalize("r1", "0.10", age_ms=10**9))).status is Status.FINALIZED
    assert (await store.finalize(finalize("r2", "0.10", age_ms=1000))).status is Status.FINALIZED_UNRESERVED
    assert (await store.release(release("r3", age_ms=1000))).status is Status.RELEASED_UNKNOWN
    assert await figures(store) == ("0.20", "0.00")


# Windows and limits that the ledger must refresh.


@pytest.mark.parametrize(
    ("moved_ms", "status"),
    [
        (-1, Status.STALE_WINDOW),
        (0, Status.RESERVED),
        (HOUR_MS - 1, Status.RESERVED),
        (HOUR_MS, Status.STALE_WINDOW),
    ],
)
async def test_a_window_begins_with_its_start_and_ends_before_its_end(
    store: Store, clock: MovableClock, moved_ms: int, status: Status
):
    hour = target(period=Period.HOUR)
    clock.move_to(hour.window.starts_ms + moved_ms)
    reserved = await store.reserve(reserve("r1", "0.60", KEY, hour))
    adjusted = await store.adjust(adjust("a1", "0.60", KEY, hour))
    assert reserved.status is status
    assert (adjusted.status is Status.STALE_WINDOW) == (status is Status.STALE_WINDOW)
    assert await figures(store) == (("0.60", "0.60") if reserved.admits else ("0.00", "0.00"))


async def test_a_changed_limit_binds_at_the_next_reserve(store: Store):
    assert (await store.limits()).version == 0
    version = await store.set_limit("key:a", period=Period.MONTH, limit_nanos=5)
    stale = await store.reserve(HELD)
    assert (stale.status, stale.limits_version, stale.entries) == (Status.STALE_LIMITS, version, ())
    assert await store.counters() == []
    assert (await store.reserve(replace(HELD, limits_version=version))).status is Status.RESERVED


async def test_runtime_limits_are_set_lifted_and_cleared(store: Store):
    versions = [
        await store.set_limit("key:a", period=Period.MONTH, limit_nanos=5),
        await store.set_limit("key:a", period=Period.DAY, limit_nanos=None),
        await store.set_limit("key+model:*+gpt-4o", period=Period.DAY, limit_nanos=9_000_000_000_000_000),
    ]
    limits = await store.limits()
    assert limits.version == versions[-1]
    assert limits.limits == {
        ("key:a", Period.MONTH): 5,
        ("key:a", Period.DAY): None,
        ("key+model:*+gpt-4o", Period.DAY): 9_000_000_000_000_000,
    }
    versions.append(await store.clear_limit("key:a", period=Period.DAY))
    assert ("key:a", Period.DAY) not in (await store.limits()).limits
    versions.append(await store.clear_limit("key:a", period=None))
    assert set((await store.limits()).limits) == {("key+model:*+gpt-4o", Period.DAY)}
    assert versions == sorted(set(versions))
    assert (await store.head()).limits_version == versions[-1]
