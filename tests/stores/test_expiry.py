"""Leases: an expired reservation gives its hold back, costs its charge, and ends at most once more."""

import pytest

from budget_middleware.core.statuses import Op, State, Status
from budget_middleware.core.verbs import Expire, Extend
from budget_middleware.core.windows import Period
from budget_middleware.stores.base import SWEPT_PER_VERB, Store
from budget_middleware.testing import MovableClock
from tests.stores.verbs import (
    KEY,
    Verb,
    adjust,
    figures,
    finalize,
    release,
    reserve,
    reserve_decided,
    send,
    target,
    whole_journal,
)

MANY = 3 * SWEPT_PER_VERB + 2


async def hold_many(store: Store, count: int = MANY) -> None:
    for at in range(count):
        await store.reserve(reserve(f"old{at:02}", "0.01", lease_s=60))


async def swept(store: Store) -> list[str]:
    return [entry.reservation_id for entry in await whole_journal(store) if entry.op is Op.EXPIRE]


async def test_a_lease_is_over_exactly_at_its_deadline(store: Store, clock: MovableClock):
    await store.reserve(reserve("r1", "0.60", lease_s=30))
    clock.advance(ms=29_999)
    assert (await store.sweep(at_most=10)).entries == ()
    assert (await store.extend(Extend("r1", lease_ms=30_000))).status is Status.EXTENDED
    clock.advance(ms=30_000)
    assert (await store.extend(Extend("r1", lease_ms=30_000))).status is Status.ALREADY_EXPIRED


async def test_what_is_due_is_not_shown_although_nobody_has_swept(store: Store, clock: MovableClock):
    await store.reserve(reserve("r1", "0.60", lease_s=30))
    await store.reserve(reserve("r2", "0.10", lease_s=31))
    clock.advance(s=30)
    assert await figures(store) == ("0.00", "0.10")
    assert [held.id for held in await store.holds()] == ["r2"]
    (proof,) = await store.proofs()
    assert (proof.pending, proof.held, proof.seen_at_seq) == (2, 700_000_000, 2)
    assert await swept(store) == []


@pytest.mark.proves("I3", "I4")
@pytest.mark.parametrize("charge", ["0", "0.05", "0.60"])
@pytest.mark.parametrize(
    ("ending", "spent"),
    [
        (finalize("r1", "0.20"), "0.20"),
        (finalize("r1", "0.05"), "0.05"),
        (finalize("r1", "0"), "0.00"),
        (release("r1"), "0.00"),
    ],
)
async def test_a_late_ending_replaces_the_charge(
    store: Store, clock: MovableClock, charge: str, ending: Verb, spent: str
):
    await store.reserve(reserve("r1", "0.60", charge=charge, trace="00-1-1-01"))
    clock.advance(s=60)
    answer = await store.sweep(at_most=10)
    (entry,) = answer.entries
    assert (entry.op, entry.status, entry.reserve_trace) == (Op.EXPIRE, Status.EXPIRED, "00-1-1-01")
    assert float((await figures(store))[0]) == float(charge)
    assert (await send(store, ending)).status in (Status.FINALIZED_LATE, Status.RELEASED_LATE)
    assert await figures(store) == (spent, "0.00")
    assert (await send(store, ending)).recorded == (await store.reserve(reserve("r1", "0.60"))).recorded


async def test_an_operators_expire_charges_nothing_and_leaves_the_owner_its_ending(store: Store):
    await store.reserve(reserve("r1", "0.60", charge="0.60", trace="00-1-1-01"))
    answer = await store.expire(Expire("r1", trace="00-2-2-01", reason="stuck"))
    (entry,) = answer.entries
    assert (entry.op, entry.reason, entry.trace) == (Op.EXPIRE, "stuck", "00-2-2-01")
    assert (entry.reserve_trace, entry.spent_delta) == ("00-1-1-01", 0)
    assert await figures(store) == ("0.00", "0.00")
    assert (await store.finalize(finalize("r1", "0.20"))).status is Status.FINALIZED_LATE
    assert await figures(store) == ("0.20", "0.00")


async def test_a_lease_that_is_over_keeps_its_charge_from_an_operator(store: Store, clock: MovableClock):
    await store.reserve(reserve("r1", "0.60", charge="0.05"))
    clock.advance(s=60)
    assert (await store.expire(Expire("r1"))).status is Status.ALREADY_EXPIRED
    assert await figures(store) == ("0.05", "0.00")


@pytest.mark.parametrize("verb", [finalize("r1", "0.10"), release("r1"), Expire("r1")], ids=["f", "r", "e"])
async def test_the_named_reservation_expires_before_its_neighbours(store: Store, clock: MovableClock, verb: Verb):
    await hold_many(store)
    await store.reserve(reserve("r1", "0.10", lease_s=61))
    clock.advance(s=61)
    answer = await send(store, verb)
    expired = [entry.reservation_id for entry in answer.entries if entry.op is Op.EXPIRE]
    assert expired == ["r1", *(f"old{at:02}" for at in range(SWEPT_PER_VERB))]


@pytest.mark.parametrize(
    "verb",
    [
        reserve("new", "0.10"),
        finalize("new", "0.10"),
        finalize("live", "0.10"),
        release("live"),
        Extend("live", lease_ms=1000),
        Expire("live"),
        adjust("new", "0.10"),
    ],
    ids=lambda verb: f"{type(verb).__name__} {verb.id}",
)
async def test_each_verb_sweeps_its_own_counters_a_little(store: Store, clock: MovableClock, verb: Verb):
    await hold_many(store)
    await store.reserve(reserve("live", "0.10", lease_s=90))
    await store.reserve(reserve("elsewhere", "0.10", target("team:b"), lease_s=1))
    clock.advance(s=60)
    await send(store, verb)
    assert [id_ for id_ in await swept(store) if id_ != "live"] == [f"old{at:02}" for at in range(SWEPT_PER_VERB)]


async def test_the_bound_is_for_all_counters_of_a_verb_together(store: Store, clock: MovableClock):
    team = target("team:b")
    await hold_many(store, SWEPT_PER_VERB - 1)
    for at in range(5):
        await store.reserve(reserve(f"team{at}", "0.01", team))
        await store.reserve(reserve(f"both{at}", "0.01", team, KEY, lease_s=61))
    clock.advance(s=61)
    answer = await store.reserve(reserve("new", "0.10", KEY, team))
    expired = [entry.reservation_id for entry in answer.entries if entry.op is Op.EXPIRE]
    assert expired == [*(f"old{at:02}" for at in range(SWEPT_PER_VERB - 1)), "both0", "both0"]


async def test_a_reserve_held_only_by_due_leases_is_repeated_until_admitted(store: Store, clock: MovableClock):
    await hold_many(store, MANY)
    clock.advance(s=60)
    full = reserve("new", "1.00")
    for at in range(3):
        answer = await store.reserve(full)
        assert (answer.status, answer.rejection, answer.admits) == (Status.LEASES_DUE, None, False)
        assert len(answer.entries) == SWEPT_PER_VERB
        assert len(await swept(store)) == (at + 1) * SWEPT_PER_VERB
    assert (await store.reserve(full)).status is Status.RESERVED
    assert await figures(store) == ("0.00", "1.00")


async def test_due_leases_do_not_delay_what_fits_or_what_is_spent(store: Store, clock: MovableClock):
    await hold_many(store)
    clock.advance(s=60)
    assert (await store.reserve(reserve("fits", "0.10"))).status is Status.RESERVED
    assert (await store.reserve(reserve("never", "1.10"))).status is Status.REJECTED


async def test_shadow_too_waits_for_due_leases(store: Store, clock: MovableClock):
    """Else it would report refusals that enforce mode does not make."""
    await hold_many(store)
    clock.advance(s=60)
    verb = reserve("new", "1.00", enforce=False)
    assert (await store.reserve(verb)).status is Status.LEASES_DUE
    answer = await reserve_decided(store, verb)
    assert (answer.status, answer.rejection) == (Status.RESERVED, None)


async def test_sweep_takes_the_oldest_of_all_accounts_first(store: Store, clock: MovableClock):
    team = target("team:b")
    for id_, of, lease_s in [("c", KEY, 3), ("b", team, 2), ("a", KEY, 1), ("live", KEY, 9)]:
        await store.reserve(reserve(id_, "0.10", of, lease_s=lease_s))
    clock.advance(s=3)
    first = await store.sweep(at_most=2, trace="00-3-3-01")
    assert (first.status, [entry.reservation_id for entry in first.entries]) == (Status.LEASES_DUE, ["a", "b"])
    assert {entry.trace for entry in first.entries} == {"00-3-3-01"}
    second = await store.sweep(at_most=2)
    assert (second.status, [entry.reservation_id for entry in second.entries]) == (Status.EXPIRED, ["c"])
    assert (await store.sweep(at_most=2)).entries == ()
    assert [held.id for held in await store.holds()] == ["live"]


async def test_leases_over_in_the_same_instant_go_by_id(store: Store, clock: MovableClock):
    for id_ in ("b", "c", "a"):
        await store.reserve(reserve(id_, "0.10"))
    clock.advance(s=60)
    assert [entry.reservation_id for entry in (await store.sweep(at_most=9)).entries] == ["a", "b", "c"]


async def test_a_repeat_of_what_expires_in_passing_shows_the_figures_after_it(store: Store, clock: MovableClock):
    await store.reserve(reserve("r1", "0.10"))
    await store.reserve(reserve("r2", "0.10"))
    clock.advance(s=60)
    answer = await store.reserve(reserve("r1", "0.10"))
    assert (answer.status, answer.admits) == (Status.DUPLICATE, False)
    assert [balance.reserved for balance in answer.balances] == [0]


@pytest.mark.proves("I3")
async def test_a_clock_that_steps_back_revives_nothing(store: Store, clock: MovableClock):
    await store.reserve(reserve("r1", "0.60"))
    await store.reserve(reserve("r2", "0.10", lease_s=120))
    clock.advance(s=60)
    await store.sweep(at_most=10)
    clock.advance(s=-50)
    assert (await store.reserve(reserve("r1", "0.60"))).admits is False
    assert [held.id for held in await store.holds()] == ["r2"]
    clock.advance(s=110)
    assert (await store.sweep(at_most=10)).entries[0].reservation_id == "r2"


@pytest.mark.proves("I7")
async def test_nothing_in_flight_and_leases_over_leaves_nothing_reserved(store: Store, clock: MovableClock):
    await hold_many(store)
    await store.reserve(reserve("two", "0.10", target(period=Period.DAY), target("team:b")))
    clock.advance(s=60)
    while (await store.sweep(at_most=7)).status is Status.LEASES_DUE:
        pass
    assert all(proof.balance.reserved == proof.pending == 0 for proof in await store.proofs())
    assert set((await store.reserved_by_kind()).values()) == {0}
    recorded = (await store.reserve(reserve("two", "0.10", target("team:b"), KEY))).recorded
    assert recorded is not None
    assert recorded.state is State.EXPIRED
