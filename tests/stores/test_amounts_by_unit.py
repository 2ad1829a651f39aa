"""A reservation has an amount for each unit, and each of its counters takes that of its own."""

import pytest

from budget_middleware.core.statuses import Status
from budget_middleware.core.units import Amounts, Unit
from budget_middleware.core.verbs import Expire, Repair, Reserve
from budget_middleware.core.windows import Period
from budget_middleware.stores.base import Store
from budget_middleware.testing import MovableClock
from tests.stores.audit import audit_report
from tests.stores.by_hand import change_by_hand
from tests.stores.verbs import (
    Verb,
    adjust,
    amounts,
    figures,
    finalize,
    grow,
    release,
    reserve,
    send,
    target,
    whole_journal,
)

KEY = target(limit="1.00")
TEAM = target("team:b")
KEY_TOKENS = target(limit="1000", unit=Unit.TOKENS)
TEAM_TOKENS = target("team:b", period=Period.DAY, unit=Unit.TOKENS)
TEAM_REQUESTS = target("team:b", "2", period=Period.DAY, unit=Unit.REQUESTS)
TEAM_INFLIGHT = target("team:b", "2", period=Period.TOTAL, unit=Unit.INFLIGHT)
ALL = (KEY, KEY_TOKENS, TEAM_TOKENS, TEAM_REQUESTS)
HELD = reserve("r1", "0.60 800 1", *ALL, charge="0.05 80 1", trace="00-1-1-01")


async def shown(store: Store) -> list[tuple[str, str]]:
    return [await figures(store, of) for of in ALL]


@pytest.mark.proves("I2", "I4")
@pytest.mark.parametrize("is_late", [False, True])
async def test_each_counter_takes_the_amount_of_its_unit(store: Store, clock: MovableClock, is_late: bool):
    assert (await store.reserve(HELD)).status is Status.RESERVED
    assert await shown(store) == [("0.00", "0.60"), ("0", "800"), ("0", "800"), ("0", "1")]
    if is_late:
        clock.advance(s=60)
        await store.sweep(at_most=10)
        assert await shown(store) == [("0.05", "0.00"), ("80", "0"), ("80", "0"), ("1", "0")]
    answer = await store.finalize(finalize("r1", "0.10 812 1", *ALL))
    assert answer.status is (Status.FINALIZED_LATE if is_late else Status.FINALIZED)
    assert await shown(store) == [("0.10", "0.00"), ("812", "0"), ("812", "0"), ("1", "0")]
    assert (await store.finalize(finalize("r1", "9 9 9", *ALL))).status is Status.ALREADY_FINALIZED
    assert await shown(store) == [("0.10", "0.00"), ("812", "0"), ("812", "0"), ("1", "0")]


@pytest.mark.proves("I9")
async def test_a_counter_whose_figures_do_not_change_has_no_entry(store: Store):
    """Its finalize books no tokens, and as many requests as it holds."""
    await store.reserve(reserve("r1", "0 0 1", *ALL))
    await store.finalize(finalize("r1", "0.10 0 1", *ALL))
    entries = [(entry.op, entry.counter, entry.spent, entry.reserved) for entry in await whole_journal(store)]
    assert entries == [
        ("reserve", TEAM_REQUESTS.counter, 0, 1),
        ("finalize", KEY.counter, 100_000_000, 0),
        ("finalize", TEAM_REQUESTS.counter, 1, 0),
    ]


@pytest.mark.parametrize("verb", [release("r1"), Expire("r1", reason="stuck")])
async def test_what_comes_to_nothing_gives_back_all_units(store: Store, verb: Verb):
    await store.reserve(HELD)
    await send(store, verb)
    assert await shown(store) == [("0.00", "0.00"), ("0", "0"), ("0", "0"), ("0", "0")]
    assert await store.counters() == []


@pytest.mark.proves("I3", "I4")
async def test_an_ending_of_a_reservation_that_the_store_lost_books_all_units(store: Store):
    answer = await store.finalize(finalize("r1", "0.10 812 1", *ALL))
    assert answer.status is Status.FINALIZED_UNRESERVED
    assert await shown(store) == [("0.10", "0.00"), ("812", "0"), ("812", "0"), ("1", "0")]


@pytest.mark.proves("I10")
@pytest.mark.parametrize("other", ["0.60 800 2", "0.60 801 1", "0.61 800 1", "0.60", "0 800 1"])
async def test_the_same_amounts_of_all_units_are_the_same_reserve(store: Store, other: str):
    await store.reserve(HELD)
    assert (await store.reserve(HELD)).status is Status.DUPLICATE
    assert (await store.reserve(reserve("r1", other, *ALL))).status is Status.CONFLICT


@pytest.mark.proves("I10")
@pytest.mark.parametrize(
    ("again", "status"),
    [
        (reserve("r1", "0.60", KEY, TEAM), Status.DUPLICATE),
        (reserve("r1", "0.60 800 0 1", KEY, TEAM, TEAM_TOKENS, TEAM_INFLIGHT), Status.DUPLICATE),
        (reserve("r1", "0.61 800", KEY, TEAM, TEAM_TOKENS), Status.CONFLICT),
        (reserve("r1", "0.60 801", KEY, TEAM, TEAM_TOKENS), Status.CONFLICT),
        (reserve("r1", "0.60", KEY), Status.CONFLICT),
    ],
    ids=["fewer units", "other units", "other money", "other tokens", "fewer accounts"],
)
async def test_a_repeat_may_come_after_a_limit_of_another_unit(store: Store, again: Reserve, status: Status):
    """What is compared is what both have counters of."""
    await store.reserve(reserve("r1", "0.60 800 1", KEY, TEAM, TEAM_TOKENS, TEAM_REQUESTS))
    before = await whole_journal(store)
    assert (await store.reserve(again)).status is status
    assert await whole_journal(store) == before


@pytest.mark.proves("I1", "I2", "I7")
async def test_in_flight_is_how_many_are_pending(store: Store, clock: MovableClock):
    """Whatever becomes of them; it is refused as held, since nothing of it is ever spent."""
    of = (KEY, TEAM_INFLIGHT)
    await store.reserve(reserve("r1", "0 0 0 1", *of))
    await store.reserve(reserve("r2", "0.10 0 0 1", *of))
    assert await figures(store, TEAM_INFLIGHT) == ("0", "2")
    refused = await store.reserve(reserve("r3", "0.10 0 0 1", *of))
    assert refused.rejection is not None
    assert (refused.rejection.target, refused.rejection.is_held) == (TEAM_INFLIGHT, True)
    await store.finalize(finalize("r1", "0.30", *of))
    await store.finalize(finalize("r1", "0.30", *of))
    await store.release(release("r1"))
    assert await figures(store, TEAM_INFLIGHT) == ("0", "1")
    assert (await store.reserve(reserve("r3", "0.10 0 0 1", *of))).status is Status.RESERVED
    await store.grow(grow("r3", "0.20 0 0 1"))
    assert await figures(store, TEAM_INFLIGHT) == ("0", "2")
    clock.advance(s=60)
    await store.sweep(at_most=10)
    await store.finalize(finalize("r2", "0.10", *of))
    await store.finalize(finalize("lost", "0.10", *of))
    assert await figures(store, TEAM_INFLIGHT) == ("0", "0")
    assert TEAM_INFLIGHT.counter not in {view.counter for view in await store.counters()}


async def test_no_request_is_in_flight_where_the_limit_is_0(store: Store):
    none = target("team:b", "0", period=Period.TOTAL, unit=Unit.INFLIGHT)
    refused = await store.reserve(reserve("r1", "0 0 0 1", none))
    assert refused.rejection is not None
    assert not refused.rejection.is_held


@pytest.mark.parametrize(
    "period", ["minute", "month@15", "week@sun", "year@04-01", "total@2027-03-31", "total@2026-01-01", "24h", "30d"]
)
async def test_a_period_of_any_text(store: Store, period: str):
    of = [target("team:b", "1000", period=Period(period), unit=unit) for unit in (Unit.USD, Unit.TOKENS)]
    await store.reserve(reserve("r1", "0.0000005 800", *of))
    assert await figures(store, of[1]) == ("0", "800")
    (held,) = await store.holds()
    assert held.targets == tuple(of)
    await store.finalize(finalize("r1", "0.0000001 700", *of))
    assert [entry.counter for entry in await whole_journal(store)] == [each.counter for each in (*of, *of)]
    assert await store.damage() == []
    assert (await audit_report(store)).drift == ()


@pytest.mark.proves("I6")
@pytest.mark.parametrize(
    ("asked", "refused_by"),
    [
        ("0.40 200 1", None),
        ("0.41 200 1", KEY),
        ("0.40 201 1", KEY_TOKENS),
        ("0.40 200 2", TEAM_REQUESTS),
        # Nothing of a unit is always admitted by its counters.
        ("0 201 1", KEY_TOKENS),
        ("0.40 0 0", None),
        # What is spent before what is held, then by unit, then the larger shortfall.
        ("0.50 900 2", KEY),
        ("0.50 1100 2", KEY_TOKENS),
        ("1.10 1100 2", KEY),
    ],
)
async def test_every_unit_has_its_limits(store: Store, asked: str, refused_by: object):
    await store.reserve(HELD)
    answer = await store.reserve(reserve("r2", asked, *ALL))
    assert answer.status is (Status.REJECTED if refused_by else Status.RESERVED)
    assert (answer.rejection and answer.rejection.target) == refused_by
    if answer.rejection:
        assert answer.rejection.estimate == amounts(asked).of(answer.rejection.target.unit)


@pytest.mark.proves("I6")
async def test_what_is_not_asked_for_needs_no_room(store: Store):
    await store.adjust(adjust("a1", "2.00 2000 3", *ALL))
    assert (await store.reserve(reserve("r1", "0 0 0", *ALL))).status is Status.RESERVED
    assert (await store.reserve(reserve("r2", "0 0 0", KEY_TOKENS))).status is Status.RESERVED
    assert (await store.reserve(reserve("r3", "0.10 0 0", KEY_TOKENS))).status is Status.RESERVED
    assert await figures(store, KEY_TOKENS) == ("2000", "0")


async def test_an_adjustment_has_an_amount_for_each_unit(store: Store):
    await store.adjust(adjust("a1", "-0.10 50", *ALL))
    assert await shown(store) == [("-0.10", "0.00"), ("50", "0"), ("50", "0"), ("0", "0")]
    views = await store.counters()
    assert {view.counter: view.adjusted for view in views} == {
        KEY.counter: -100_000_000,
        KEY_TOKENS.counter: 50,
        TEAM_TOKENS.counter: 50,
    }
    assert (await store.adjust(adjust("a1", "-0.10 50", *ALL))).status is Status.DUPLICATE
    assert (await store.adjust(adjust("a1", "-0.10 51", *ALL))).status is Status.CONFLICT


async def test_totals_are_kept_by_unit(store: Store):
    day = target(period=Period.DAY, unit=Unit.TOKENS)
    await store.reserve(reserve("r1", "0.60 800 1", *ALL, day))
    held = {
        (Unit.USD, "key"): 600_000_000,
        (Unit.TOKENS, "key"): 800,
        (Unit.TOKENS, "team"): 800,
        (Unit.REQUESTS, "team"): 1,
    }
    assert await store.reserved_by_kind() == held
    assert await store.damage() == []
    await store.finalize(finalize("r1", "0.10 1 1"))
    assert set((await store.reserved_by_kind()).values()) == {0}


async def test_what_is_recorded_of_a_reservation(store: Store):
    await store.reserve(HELD)
    (held,) = await store.holds()
    assert (held.asked, held.held, held.expiry_charge) == (HELD.asked, HELD.asked, HELD.expiry_charge)
    assert held.targets == ALL
    await store.finalize(finalize("r1", "0.10 812", *ALL))
    ended = await store.reservation("r1")
    assert ended is not None
    assert (ended.asked, ended.held, ended.actual) == (HELD.asked, Amounts(), Amounts(usd=100_000_000, tokens=812))
    assert [target.counter for target in ended.targets] == [target.counter for target in ALL]
    assert {target.limit for target in ended.targets} == {None}, "nobody needs the limits of what has ended"


async def test_what_is_over_forgets_what_nobody_needs(store: Store, clock: MovableClock):
    for id_ in ("r1", "r2", "r3"):
        await store.reserve(reserve(id_, "0.10 10 0", *ALL, charge="0.05 5", trace="00-1-1-01"))
    await store.finalize(finalize("r1", "0.10 10", *ALL))
    await store.release(release("r2"))
    clock.advance(s=60)
    await store.sweep(at_most=10)
    for id_ in ("r1", "r2", "r3"):
        over = await store.reservation(id_)
        assert over is not None
        assert (over.deadline_ms, over.trace, over.held) == (0, "", Amounts())
        assert over.expiry_charge == (amounts("0.05 5") if id_ == "r3" else Amounts())


@pytest.mark.proves("I2", "I4", "I9")
async def test_an_audit_proves_and_repairs_each_unit(store: Store):
    await store.reserve(HELD)
    await store.finalize(finalize("r0", "0.10 100 1", *ALL))
    assert (await audit_report(store)).drift == ()
    await change_by_hand(store, TEAM_TOKENS.counter, spent=7, reserved=-800)
    await change_by_hand(store, TEAM_REQUESTS.counter, spent=-1)
    report = await audit_report(store)
    assert {lacks.counter: lacks.spent for lacks in report.corrections} == {
        TEAM_TOKENS.counter: -7,
        TEAM_REQUESTS.counter: 1,
    }
    targets = {of.counter: of for of in ALL}
    for at, lacks in enumerate(report.corrections):
        await store.repair(Repair(f"x{at}", targets[lacks.counter], lacks.spent, lacks.found_at_seq))
    assert (await audit_report(store)).drift == ()
    assert await shown(store) == [("0.10", "0.60"), ("100", "800"), ("100", "800"), ("1", "1")]
