"""What a store's journal has dropped is explained, listed and audited from its history; nothing comes twice."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from budget_middleware.core.costs.charges import CORRECTS
from budget_middleware.core.statuses import Status
from budget_middleware.core.units import Amounts
from budget_middleware.core.verbs import Adjust
from budget_middleware.history.connections import open_database
from budget_middleware.history.copying import Copier
from budget_middleware.history.writing import HistoryWriter
from budget_middleware.opening import operators_ledger_of
from budget_middleware.operations.account_explanation import explain_account
from budget_middleware.operations.audits import audit
from budget_middleware.operations.context import OperatorContext
from budget_middleware.operations.reaching_back import latest_entries_of_both
from budget_middleware.operations.reservation_explanation import explain_reservation
from budget_middleware.settings import Settings
from budget_middleware.settings_loading import load
from budget_middleware.stores.memory.store import MemoryStore
from budget_middleware.stores.retention import Retention
from budget_middleware.testing import MovableClock
from tests.history.histories import lose
from tests.operations.report_story import bill_of, booked, refusal_of
from tests.stores.verbs import UTC, adjust, reserve, target

TEAM, USER = target("team:x"), target("user:p")
FIRST = "f1" * 16


@pytest.fixture
def store(clock: MovableClock) -> MemoryStore:
    return MemoryStore(Retention(journal_max=100), clock_ms=clock)


@pytest.fixture
async def context(store: MemoryStore, tmp_path: Path) -> AsyncIterator[OperatorContext]:
    settings = load(history_url=f"sqlite:///{tmp_path}/history.db")
    context = OperatorContext(settings, store, operators_ledger_of(settings, store))
    yield context
    await context.ledger.drain()


async def copy(context: OperatorContext) -> None:
    database = open_database(context.settings.history_url)
    copier = Copier(context.store, HistoryWriter(database, context.settings.namespace, timezone=UTC))
    await copier.copy_all()
    await copier.give_up()
    database.close()


async def push_out(context: OperatorContext, clock: MovableClock, *, copies: bool = True) -> None:
    """So much is booked that the journal drops what was before."""
    for number in range(250):
        clock.advance(ms=10)
        await context.store.adjust(adjust(f"{clock.now_ms:x}", "0.01", TEAM))
        if copies and number % 50 == 49:
            await copy(context)


async def first_request(context: OperatorContext, clock: MovableClock) -> None:
    await context.store.reserve(reserve(FIRST, "0.60", TEAM, USER))
    clock.advance(s=1)
    await context.store.finalize(booked(FIRST, 7, TEAM, USER))


async def test_a_reservation_of_which_the_journal_has_nothing(context: OperatorContext, clock: MovableClock):
    await first_request(context, clock)
    reason = f"{CORRECTS}{FIRST}"
    correction = Adjust("c1", (TEAM, USER), Amounts(usd=-2), reason=reason, bill=bill_of(5, "haiku", 1))
    await context.store.adjust(correction)
    await copy(context)
    of_both = await explain_reservation(context, FIRST)
    await push_out(context, clock)
    of_history = await explain_reservation(context, FIRST)
    assert of_history is not None
    assert of_history == of_both, "whoever has it"
    assert [row.status for row in of_history.changes] == [*["reserved"] * 2, *["finalized"] * 2]
    assert of_history.booked.usd == 7
    assert of_history.bill is not None
    assert (of_history.bill.model, of_history.bill.corrected_by) == ("haiku", "-0.000000002")


async def test_an_ending_that_was_sent_again_after_a_loss_is_told_once(context: OperatorContext, clock: MovableClock):
    await first_request(context, clock)
    await copy(context)
    await lose(context.store)
    await context.store.finalize(booked(FIRST, 7, TEAM, USER))
    for _ in range(2):
        found = await explain_reservation(context, FIRST)
        assert found is not None
        assert [row.status for row in found.changes] == [*["reserved"] * 2, *["finalized_unreserved"] * 2]
        assert found.booked.usd == 7
        await copy(context)


async def test_an_account_is_explained_from_its_first_booking_on(context: OperatorContext, clock: MovableClock):
    await first_request(context, clock)
    await context.store.log_refusals([refusal_of("team:x", clock.now_ms)])
    await copy(context)
    await push_out(context, clock)
    await context.store.adjust(adjust("last", "1", TEAM))
    explanation = await explain_account(context, "team:x")
    assert explanation is not None
    (counter,) = explanation.counters
    assert counter.unexplained.is_nothing
    assert counter.since_seq == 1
    assert counter.changes[Status.ADJUSTED].count == 251
    assert counter.changes[Status.FINALIZED].spent == "0.000000007"
    (finalized,) = [change for change in explanation.changes if change.status is Status.FINALIZED]
    assert finalized.other_accounts == ("user:p",)
    assert [row.times for row in explanation.refusals] == [3]
    without = await explain_account(replace(context, settings=replace_history(context)), "team:x")
    assert without is not None
    assert without.counters[0].since_seq != 1, "the journal alone reaches less far back"


def replace_history(context: OperatorContext) -> Settings:
    return context.settings.model_copy(update={"history_url": ""})


async def test_what_is_before_a_gap_explains_nothing_after_it(context: OperatorContext, clock: MovableClock):
    await first_request(context, clock)
    await copy(context)
    await push_out(context, clock, copies=False)
    await copy(context)
    explanation = await explain_account(context, "team:x")
    assert explanation is not None
    (counter,) = explanation.counters
    assert counter.unexplained.is_nothing
    assert counter.since_seq is not None
    assert counter.since_seq > 100
    assert Status.FINALIZED not in counter.changes


async def test_the_last_entries_reach_into_the_history(context: OperatorContext, clock: MovableClock):
    await first_request(context, clock)
    await copy(context)
    await push_out(context, clock)
    await context.store.adjust(adjust("last", "1", TEAM))
    page = await latest_entries_of_both(context, count=200)
    assert [row.seq for row in page.entries] == list(range(56, 256))
    assert page.n_from_history == 100
    whole = await latest_entries_of_both(context, "team:x", count=9_999)
    assert [row.seq for row in whole.entries] == [1, 3, *range(5, 256)]
    few = await latest_entries_of_both(context, count=3)
    assert ([row.seq for row in few.entries], few.n_from_history) == ([253, 254, 255], 0)


async def test_an_audit_proves_from_zero_what_the_journal_cannot(context: OperatorContext, clock: MovableClock):
    await first_request(context, clock)
    await copy(context)
    await push_out(context, clock)
    await context.store.adjust(adjust("last", "1", TEAM))
    alone = await audit(context)
    assert (alone.proved_from_zero, alone.proved_in_part, alone.unproved) == (0, 1, 1)
    proved = await audit(context, with_history=True)
    assert (proved.proved_from_zero, proved.counters, proved.is_clean) == (2, 2, True)
    assert proved.journal_since_seq == 1
