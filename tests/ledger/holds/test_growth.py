"""An answer that outgrows what is held for it: who asks for more, how much, and what is lost without harm."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from budget_middleware.core.costs.estimate import GrowthPlan
from budget_middleware.core.units import Amounts
from budget_middleware.ledger import Hold, Ledger
from budget_middleware.ledger.holds import growth as growth_module
from budget_middleware.ledger.holds.growth import Growth
from budget_middleware.stores.base import Store
from budget_middleware.stores.errors import StoreUnavailable
from budget_middleware.testing import Gate, MovableClock
from tests.ledger.conftest import OpenLedger, hold, nanos
from tests.ledger.faults import Apply, FaultyStore, refused, reply_held, reply_lost, request_lost
from tests.ledger.holds.test_leases import beaten
from tests.stores.verbs import figures, whole_journal

TOKEN_NANOS = 1_000_000
"""So a hundred tokens are ten cents."""


@dataclass
class Answer:
    """What a test's answer has come to, and its app has added."""

    output_tokens: int = 0
    added_nanos: int = 0
    added_tokens: int = 0


def plan(*, held: int = 100, cap: int = 1_000, tokens_per_s: float = 48) -> GrowthPlan:
    return GrowthPlan(held, cap, lambda tokens: TOKEN_NANOS * tokens, tokens_per_s)


def growing(answer: Answer, growth_plan: GrowthPlan | None = None) -> Growth:
    growth_plan = growth_plan or plan()
    return Growth(
        growth_plan,
        held_nanos=growth_plan.nanos_of(growth_plan.held_tokens),
        model="m",
        added=answer,
        shown=answer,
    )


@pytest.fixture(autouse=True)
def time_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers grow older only when a test says so."""
    monkeypatch.setattr(growth_module, "monotonic", lambda: 1_000.0)


@pytest.fixture
def answer() -> Answer:
    return Answer()


@pytest.fixture
async def held(ledger: Ledger, answer: Answer) -> Hold:
    """Ten cents for a hundred tokens, of a limit of 1.00."""
    made = hold("0.10")
    await ledger.reserve(made)
    made.growth = growing(answer)
    return made


async def grown(ledger: Ledger, held: Hold) -> None:
    """What the exchange does; here the task is waited for."""
    ledger.grow(held)
    await asyncio.gather(*ledger._tasks._tasks.current())


async def entries_of(store: Store) -> list[tuple[str, int, str]]:
    return [(entry.status, entry.reserved_delta, entry.reason) for entry in await whole_journal(store)]


# How much.


def test_it_is_outgrown_by_more_tokens_than_are_held_and_by_their_bytes(answer: Answer):
    growth = growing(answer)
    assert (growth.grows_at_tokens, growth.grows_at_bytes) == (100, 400)
    answer.output_tokens = 100
    growth.follow_answer()
    assert not growth.is_outgrown
    answer.output_tokens = 101
    growth.follow_answer()
    assert (growth.is_outgrown, growth.wanted_nanos) == (True, 200 * TOKEN_NANOS)
    assert (growth.grows_at_tokens, growth.grows_at_bytes) == (200, 800)
    assert growth.reason == "outgrown: 101 tokens shown, holds 200"


def test_it_doubles_until_the_answer_fits_and_ends_at_the_most_that_this_can_come_to(answer: Answer):
    growth = growing(answer)
    answer.output_tokens = 450
    growth.follow_answer()
    assert growth.wanted_nanos == 800 * TOKEN_NANOS
    answer.output_tokens = 5_000
    growth.follow_answer()
    assert growth.wanted_nanos == 1_000 * TOKEN_NANOS
    # There is nothing to be outgrown any more: no chunk asks again.
    assert growth.grows_at_tokens > 10**15
    assert growth.grows_at_bytes > 10**15


def test_what_covers_the_most_that_can_come_is_never_outgrown(answer: Answer):
    growth = growing(answer, plan(held=1_000))
    answer.output_tokens = 2_000
    growth.follow_answer()
    assert not growth.is_outgrown
    assert growth.grows_at_tokens > 10**15


def test_an_answer_that_shows_nothing_grows_by_its_age(answer: Answer):
    growth = growing(answer)
    growth._since_s -= 2
    growth.follow_age()
    assert not growth.is_outgrown
    growth._since_s -= 2
    growth.follow_age()
    assert growth.wanted_nanos == 200 * TOKEN_NANOS
    assert growth.reason == "outgrown: 4 s at 48 tokens/s, holds 200"


def test_an_answer_that_is_seen_is_not_guessed_by_its_age(answer: Answer):
    growth = growing(answer)
    answer.output_tokens = 5
    growth._since_s -= 60
    growth.follow_age()
    assert not growth.is_outgrown


def test_what_the_app_adds_counts_as_seen(answer: Answer):
    growth = growing(answer)
    answer.output_tokens, answer.added_nanos = 60, nanos("0.04")
    growth.follow_age()
    assert not growth.is_outgrown
    answer.added_nanos = nanos("0.05")
    growth.follow_age()
    assert (growth.wanted_nanos, growth.reason) == (nanos("0.20"), "outgrown: $0.05 added")
    answer.output_tokens = 101
    growth.follow_answer()
    assert growth.wanted_nanos == nanos("0.25")


# Who asks, and what becomes of it.


async def test_a_stream_that_crosses_is_held_for_while_it_goes_on(
    base: Store, ledger: Ledger, held: Hold, answer: Answer
):
    for shown in (50, 101, 150, 450):
        answer.output_tokens = shown
        await grown(ledger, held)
    assert await figures(base) == ("0.00", "0.80")
    assert held.held == Amounts(usd=nanos("0.80"))
    await ledger.finalize(held, actual=Amounts(usd=nanos("0.45")))
    assert await figures(base) == ("0.45", "0.00")
    assert await entries_of(base) == [
        ("reserved", nanos("0.10"), ""),
        ("grown", nanos("0.10"), "outgrown: 101 tokens shown, holds 200"),
        ("grown", nanos("0.60"), "outgrown: 450 tokens shown, holds 800"),
        ("finalized", -nanos("0.80"), ""),
    ]


async def test_nobody_waits_for_it_and_a_hold_has_one_call_in_flight(
    base: Store, faults: FaultyStore, ledger: Ledger, held: Hold, answer: Answer
):
    gate = Gate()
    faults.meets("grow", reply_held(gate))
    for shown in (101, 201, 401):
        answer.output_tokens = shown
        ledger.grow(held)
        await asyncio.sleep(0)
    await gate.reached()
    assert faults.count("grow") == 1
    gate.open()
    await grown(ledger, held)
    # What was outgrown meanwhile went in one more call.
    assert faults.count("grow") == 2
    assert await figures(base) == ("0.00", "0.80")


@pytest.mark.parametrize("fault", [request_lost, reply_lost, refused])
async def test_one_without_an_answer_is_dropped_and_the_next_asks_for_more(
    base: Store, faults: FaultyStore, ledger: Ledger, *, held: Hold, answer: Answer, fault: Callable[[Apply], object]
):
    faults.meets("grow", fault)  # type: ignore[arg-type]
    answer.output_tokens = 101
    await grown(ledger, held)
    assert faults.count("grow") == 1
    answer.output_tokens = 201
    await grown(ledger, held)
    assert await figures(base) == ("0.00", "0.40")


async def test_the_next_heartbeat_asks_again_in_the_place_of_extend(
    base: Store, faults: FaultyStore, clock: MovableClock, *, ledger: Ledger, held: Hold, answer: Answer
):
    faults.meets("grow", request_lost)
    answer.output_tokens = 101
    await grown(ledger, held)
    clock.advance(s=50)
    await beaten(ledger)
    assert (faults.count("grow"), faults.count("extend")) == (2, 0)
    assert await figures(base) == ("0.00", "0.20")
    clock.advance(s=50)
    await beaten(ledger)
    assert (faults.count("grow"), faults.count("extend")) == (2, 1)
    assert [found.id for found in await base.holds()] == [held.id]


async def test_an_answer_older_than_its_hold_grows_by_beats(
    base: Store, faults: FaultyStore, ledger: Ledger, held: Hold, answer: Answer
):
    assert held.growth is not None
    for _ in range(3):
        held.growth._since_s -= 10
        await beaten(ledger)
    assert await figures(base) == ("0.00", "1.00")
    assert (faults.count("grow"), faults.count("extend")) == (2, 1)
    reasons = [reason for status, _, reason in await entries_of(base) if status == "grown"]
    assert reasons == ["outgrown: 10 s at 48 tokens/s, holds 800", "outgrown: 20 s at 48 tokens/s, holds 1000"]


async def test_what_the_store_does_not_hold_any_more_grows_no_more(
    base: Store, faults: FaultyStore, clock: MovableClock, *, ledger: Ledger, held: Hold, answer: Answer
):
    clock.advance(s=61)
    for shown in (101, 201):
        answer.output_tokens = shown
        await grown(ledger, held)
    assert faults.count("grow") == 1
    assert await figures(base) == ("0.00", "0.00")
    await ledger.finalize(held, actual=Amounts(usd=nanos("0.20")))
    assert await figures(base) == ("0.20", "0.00")


async def test_a_lease_that_ran_out_is_noticed_by_the_beat_that_would_grow_it(
    base: Store, clock: MovableClock, ledger: Ledger, held: Hold, caplog: pytest.LogCaptureFixture
):
    assert held.growth is not None
    held.growth._since_s -= 10
    clock.advance(s=61)
    with caplog.at_level(logging.WARNING):
        await beaten(ledger)
    assert f"the lease of {held.id} could not be renewed: already_expired" in caplog.text
    assert not held.is_leased


async def test_a_hold_without_growth_is_extended_as_ever(base: Store, faults: FaultyStore, ledger: Ledger):
    plain = hold("0.10")
    await ledger.reserve(plain)
    ledger.grow(plain)
    await beaten(ledger)
    assert (faults.count("grow"), faults.count("extend")) == (0, 1)


async def test_a_store_that_hangs_keeps_no_beat(faults: FaultyStore, open_ledger: OpenLedger, answer: Answer):
    ledger, gate, held = open_ledger(store_timeout_s=0.25), Gate(), hold("0.10")
    await ledger.reserve(held)
    held.growth = growing(answer)
    held.growth._since_s -= 10

    async def hangs(_: Apply) -> None:
        await gate.wait()

    faults.meets("grow", hangs)
    with pytest.raises(StoreUnavailable, match=r"no answer within 0\.25 s"):
        await beaten(ledger)
    assert not held.growth.is_asking


async def test_while_the_store_is_away_its_ending_gives_back_all_that_it_held(
    faults: FaultyStore, open_ledger: OpenLedger, answer: Answer
):
    """By this worker's own figures: 0.80 are held there, and nothing any more."""
    ledger, held = open_ledger(store_timeout_s=0.25), hold("0.10")
    await ledger.reserve(held)
    held.growth = growing(answer)
    answer.output_tokens = 401
    await grown(ledger, held)
    faults.always |= {"reserve": request_lost, "finalize": request_lost}
    assert await ledger.finalize(held, actual=Amounts(usd=nanos("0.10"))) is None
    other = hold("0.90")
    with pytest.raises(StoreUnavailable):
        await ledger.reserve(other)
    assert ledger.reserve_locally(other) is None
    ledger.release(other)
    faults.always.clear()


# `Ledger.reservation`.


async def test_a_block_asks_for_more(base: Store, ledger: Ledger):
    async with ledger.reservation({"key": "a" * 16}, estimate_usd="0.10") as reservation:
        assert await reservation.grow("0.40") is True
        assert [each.held.usd for each in await base.holds()] == [nanos("0.40")]
        assert await reservation.grow("0.20") is True
        assert [each.held.usd for each in await base.holds()] == [nanos("0.40")]
        with pytest.raises(ValueError, match=r"'-1': an amount to hold is 0 or more"):
            await reservation.grow("-1")
        reservation.add_cost("0.30")
    with pytest.raises(RuntimeError, match="it holds nothing any more"):
        await reservation.grow("0.50")
    assert [status for status, *_ in await entries_of(base)] == ["reserved", "grown", "finalized"]


async def test_a_block_that_gets_no_answer_goes_on(base: Store, faults: FaultyStore, ledger: Ledger):
    async with ledger.reservation({"key": "a" * 16}, estimate_usd="0.10") as reservation:
        faults.meets("grow", request_lost)
        assert await reservation.grow("0.40") is False
        await beaten(ledger)
        assert [each.held.usd for each in await base.holds()] == [nanos("0.40")]


async def test_a_block_that_adds_more_than_it_holds_grows_at_the_next_beat(base: Store, ledger: Ledger):
    async with ledger.reservation({"key": "a" * 16}, estimate_usd="0.10") as reservation:
        reservation.add_cost("0.25")
        await beaten(ledger)
        assert [each.held.usd for each in await base.holds()] == [nanos("0.40")]
    assert (await entries_of(base))[1][2] == "outgrown: $0.25 added"
