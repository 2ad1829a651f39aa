"""The rules by themselves: state and time in, a decision out."""

from dataclasses import replace
from itertools import product
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from budget_middleware.core import transitions
from budget_middleware.core.model import Adjustment, Balance, Reservation, Target
from budget_middleware.core.statuses import Op, State, Status
from budget_middleware.core.transitions import ENDINGS, EXTENSIONS, Decision, Posting
from budget_middleware.core.units import Amounts, Unit
from budget_middleware.core.verbs import Adjust, Extend, Finalize, Release, Reserve
from budget_middleware.core.windows import Period, window_at

NOW_MS = 1_795_012_200_000
REMEMBER_MS = 3_600_000
DAY = window_at(Period.DAY, time_ms=NOW_MS, timezone=ZoneInfo("UTC"))
KEY, TEAM = Target("key:a", DAY, 5), Target("team:b", DAY, 5)
ASKED = Amounts(usd=3)
VERB = Reserve("r", (KEY, TEAM), ASKED, lease_ms=1000, expiry_charge=Amounts(usd=1), trace="00-1-1-01")

small = st.integers(0, 6)
states = st.sampled_from([None, *State])
WITHOUT_LIMITS = tuple(Target(target.account, target.window) for target in VERB.targets)


def known_as(state: State | None, *, actual: int = 2) -> Reservation | None:
    """The reservation of ``VERB`` as it is remembered in a state."""
    match state:
        case None:
            return None
        case State.PENDING:
            return Reservation("r", state, VERB.targets, ASKED, ASKED, VERB.expiry_charge, deadline_ms=NOW_MS + 1000)
        case State.EXPIRED:
            return Reservation("r", state, VERB.targets, ASKED, expiry_charge=VERB.expiry_charge)
        case State.FINALIZED:
            return Reservation("r", state, WITHOUT_LIMITS, ASKED, actual=Amounts(usd=actual))
        case State.RELEASED:
            return Reservation("r", state, WITHOUT_LIMITS, ASKED)


def decide(verb: Reserve, *balances: Balance, known: Reservation | None = None, **facts: int) -> Decision:
    return transitions.reserve(
        known,
        verb,
        balances=balances or (Balance(),) * len(verb.targets),
        limits_version=facts.get("limits_version", 0),
        leases_due=bool(facts.get("leases_due")),
        now_ms=facts.get("now_ms", NOW_MS),
    )


def finalize(known: Reservation | None, actual: int = 2, age_ms: int = 0) -> Decision:
    verb = Finalize("r", VERB.targets, Amounts(usd=actual), age_ms=age_ms)
    return transitions.finalize(known, verb, remember_ms=REMEMBER_MS)


def release(known: Reservation | None, age_ms: int = 0) -> Decision:
    return transitions.release(known, Release("r", age_ms=age_ms), remember_ms=REMEMBER_MS)


@pytest.mark.proves("I3")
def test_every_ending_and_extension_is_decided_in_every_state():
    assert set(ENDINGS) == set(product((Op.FINALIZE, Op.RELEASE), (None, *State)))
    assert set(EXTENSIONS) == {None, *State}


@pytest.mark.parametrize("state", [None, *State])
def test_verbs_answer_what_the_tables_say(state: State | None):
    known = known_as(state)
    extended = transitions.extend(known, Extend("r", 5000), now_ms=NOW_MS)
    expired = transitions.expire_now(known)
    assert finalize(known).status is ENDINGS[Op.FINALIZE, state]
    assert release(known).status is ENDINGS[Op.RELEASE, state]
    assert extended.status is EXTENSIONS[state]
    assert expired.status is (Status.EXPIRED if state is State.PENDING else EXTENSIONS[state])
    if state is not State.PENDING:
        assert extended == Decision(extended.status)
        assert expired == Decision(expired.status)


@pytest.mark.proves("I3", "I4")
@given(state=states, actual=small, first=small)
def test_an_ending_moves_counters_to_what_it_says_and_is_the_last(state: State | None, actual: int, first: int):
    known = known_as(state, actual=first)
    booked, held = (known.booked.usd, known.held.usd) if known else (0, 0)
    for decision, spent in ((finalize(known, actual), actual), (release(known), 0)):
        if decision.becomes is None:
            assert known is not None
            assert known.state in (State.FINALIZED, State.RELEASED)
            assert decision.postings == ()
            continue
        for posting in decision.postings:
            assert (posting.spent, posting.reserved) == (spent - booked, -held)
        assert bool(decision.postings) == (spent != booked or held != 0)
        assert finalize(decision.becomes, 6).postings == release(decision.becomes).postings == ()


def test_a_reserve_holds_on_every_target():
    decision, pending = decide(VERB), known_as(State.PENDING, actual=0)
    assert pending is not None
    assert decision.status is Status.RESERVED
    assert decision.postings == (Posting(KEY, 0, 3), Posting(TEAM, 0, 3))
    assert decision.becomes == structs.replace(pending, created_ms=NOW_MS, trace="00-1-1-01")


@pytest.mark.proves("I6")
@given(spent=small, reserved=small, estimate=small)
def test_admitted_only_within_the_limit_and_free_always(spent: int, reserved: int, estimate: int):
    verb = replace(VERB, asked=Amounts(usd=estimate))
    decision = decide(verb, Balance(spent, reserved), Balance())
    fits = estimate == 0 or spent + reserved + estimate <= 5
    in_team = estimate <= 5
    assert (decision.status is Status.RESERVED) == (fits and in_team)
    if decision.rejection is not None:
        assert decision.rejection.is_held == (decision.rejection.balance.spent + estimate <= 5)
        assert (decision.becomes, decision.postings) == (None, ())


@given(balances=st.lists(st.builds(Balance, small, small), min_size=1, max_size=4), estimate=small)
def test_the_rejection_is_the_first_of_the_worst(balances: list[Balance], estimate: int):
    targets = [Target(f"key:{at}", DAY, 5) for at in range(len(balances))]
    rejection = transitions.find_rejection(targets, balances, asked=Amounts(usd=estimate))
    ranks = [(balance.spent + estimate > 5, balance.spent + balance.reserved + estimate - 5) for balance in balances]
    refusing = [rank for rank in ranks if rank[1] > 0 and estimate > 0]
    assert (rejection is None) == (not refusing)
    if rejection is not None:
        assert targets.index(rejection.target) == ranks.index(max(refusing))


def test_what_is_checked_first_decides():
    """An id that is known, then windows, then the version of limits, then due leases, then the limit."""
    full = (Balance(0, 5), Balance(0, 5))
    known = known_as(State.PENDING)
    worst: dict[str, Any] = {"now_ms": DAY.ends_ms, "limits_version": 1, "leases_due": 1}
    assert decide(VERB, *full, known=known, **worst).status is Status.DUPLICATE
    assert decide(VERB, *full, **worst).status is Status.STALE_WINDOW
    assert decide(VERB, *full, limits_version=1, leases_due=1).status is Status.STALE_LIMITS
    assert decide(VERB, *full, leases_due=1).status is Status.LEASES_DUE
    assert decide(VERB, *full).status is Status.REJECTED
    assert decide(VERB, leases_due=1).status is Status.RESERVED
    spent = (Balance(3, 2), Balance())
    assert decide(VERB, *spent, leases_due=1).status is Status.REJECTED
    assert decide(replace(VERB, enforce=False), *spent).rejection is not None
    assert decide(replace(VERB, enforce=False), *full, leases_due=1).status is Status.LEASES_DUE


@pytest.mark.parametrize("state", State)
def test_same_arguments_are_accounts_and_amount(state: State):
    known = known_as(state)
    tomorrow = replace(KEY, window=window_at(Period.DAY, time_ms=DAY.ends_ms, timezone=ZoneInfo("UTC")))
    for same in (VERB, replace(VERB, targets=(TEAM, tomorrow)), replace(VERB, lease_ms=1, expiry_charge=Amounts())):
        assert decide(same, known=known) == Decision(Status.DUPLICATE)
    for other in (replace(VERB, asked=Amounts(usd=2)), replace(VERB, targets=(KEY,)), replace(VERB, asked=Amounts())):
        assert decide(other, known=known) == Decision(Status.CONFLICT)


@pytest.mark.parametrize("ended", [release(None), finalize(None)])
def test_a_tombstone_is_a_duplicate_of_any_reserve(ended: Decision):
    for verb in (VERB, replace(VERB, asked=Amounts(usd=1), targets=(TEAM,))):
        assert decide(verb, known=ended.becomes) == Decision(Status.DUPLICATE)


@pytest.mark.parametrize("end", [finalize, release])
def test_too_old_is_for_unknown_ids_only(end):
    assert end(None, age_ms=REMEMBER_MS).becomes is not None
    assert end(None, age_ms=REMEMBER_MS + 1) == Decision(Status.TOO_OLD)
    assert end(known_as(State.PENDING), age_ms=REMEMBER_MS + 1).becomes is not None


def test_expiry_books_the_charge_and_an_operators_does_not():
    pending = known_as(State.PENDING)
    assert pending is not None
    assert [posting.spent for posting in transitions.expire_due(pending).postings] == [1, 1]
    by_operator = transitions.expire_now(pending)
    assert [(posting.spent, posting.reserved) for posting in by_operator.postings] == [(0, -3)] * 2
    assert [posting.spent for posting in finalize(by_operator.becomes).postings] == [2, 2]


def test_extend_moves_the_deadline_and_nothing_else():
    pending = known_as(State.PENDING)
    assert pending is not None
    extended = transitions.extend(pending, Extend("r", 5000), now_ms=NOW_MS)
    assert extended == Decision(Status.EXTENDED, structs.replace(pending, deadline_ms=NOW_MS + 5000))


@given(usd=st.integers(-3, 3))
def test_adjust_is_posted_once(usd: int):
    verb = Adjust("a", (KEY, TEAM), Amounts(usd=usd))
    posted = transitions.adjust(None, verb, now_ms=NOW_MS).postings
    assert posted == ((Posting(KEY, usd, 0), Posting(TEAM, usd, 0)) if usd else ())
    known = Adjustment("a", (TEAM, KEY), Amounts(usd=usd))
    assert transitions.adjust(known, verb, now_ms=DAY.ends_ms) == Decision(Status.DUPLICATE)
    assert transitions.adjust(known, replace(verb, amount=Amounts(usd=9)), now_ms=NOW_MS) == Decision(Status.CONFLICT)
    for now_ms in (DAY.starts_ms - 1, DAY.ends_ms):
        assert transitions.adjust(None, verb, now_ms=now_ms) == Decision(Status.STALE_WINDOW)
        assert transitions.adjust(None, replace(verb, any_window=True), now_ms=now_ms).postings == posted


units = st.sampled_from(Unit)
figures = st.builds(Amounts, st.integers(0, 3), st.integers(0, 3), st.integers(0, 3))


def of_unit(unit: Unit, limit: int | None = None) -> Target:
    return Target("key:a", DAY, limit, unit)


@pytest.mark.proves("I2", "I4")
@given(
    asked=figures,
    actual=figures,
    charge=figures,
    on=st.lists(units, min_size=1, max_size=3, unique=True),
    is_late=st.booleans(),
)
def test_a_counter_gains_what_is_of_its_unit(
    asked: Amounts, actual: Amounts, charge: Amounts, on: list[Unit], is_late: bool
):
    """The steps of a reservation add up, on each counter, to its actual amount of that unit and to no hold."""
    verb = replace(VERB, targets=tuple(map(of_unit, on)), asked=asked, expiry_charge=charge)
    decisions = [decide(verb)]
    if is_late:
        decisions.append(transitions.expire_due(decisions[0].becomes))  # type: ignore[arg-type]
    ending = Finalize("r", verb.targets, actual)
    decisions.append(transitions.finalize(decisions[-1].becomes, ending, remember_ms=REMEMBER_MS))
    for target in verb.targets:
        own = [posting for decision in decisions for posting in decision.postings if posting.target == target]
        assert sum(posting.spent for posting in own) == getattr(actual, target.unit)
        assert sum(posting.reserved for posting in own) == 0
        assert all(posting.spent or posting.reserved for posting in own)


@pytest.mark.proves("I6")
@given(asked=figures, spent=small, reserved=small, unit=units)
def test_only_figures_of_one_unit_meet(asked: Amounts, spent: int, reserved: int, unit: Unit):
    estimate = getattr(asked, unit)
    rejection = transitions.find_rejection([of_unit(unit, 5)], [Balance(spent, reserved)], asked=asked)
    assert (rejection is None) == (estimate == 0 or spent + reserved + estimate <= 5)
    assert rejection is None or rejection.estimate == estimate


def test_a_refusal_names_what_is_spent_before_the_first_unit_and_that_before_the_larger_shortfall():
    asked, targets = Amounts(1, 1, 1, 1), [of_unit(unit, 5) for unit in reversed(Unit)]
    held, held_more, spent = Balance(0, 5), Balance(0, 9), Balance(5, 0)

    def named(*balances: Balance) -> str:
        rejection = transitions.find_rejection(targets, balances, asked=asked)
        assert rejection is not None
        return rejection.target.unit

    assert named(held_more, held_more, held_more, held) == "usd"
    assert named(held_more, held, held_more, Balance()) == "tokens"
    assert named(held, spent, held_more, held) == "requests"
    assert named(spent, spent, spent, held_more) == "tokens"


def test_what_is_not_pending_forgets_what_nobody_needs():
    pending = known_as(State.PENDING)
    assert pending is not None
    expired = transitions.expire_due(pending).becomes
    assert expired == known_as(State.EXPIRED)
    for ending in (finalize, release):
        for known in (pending, expired):
            ended = ending(known).becomes
            assert ended is not None
            assert ended == known_as(ended.state)
