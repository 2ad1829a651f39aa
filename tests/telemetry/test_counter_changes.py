"""BUDGET_SPANS: the same changes with the same attributes, as spans of their own or as events of their verb's span."""

import pytest
from opentelemetry.sdk.trace import SpanLimits
from opentelemetry.trace import StatusCode

from budget_middleware import BudgetMiddleware
from budget_middleware.core.units import Amounts
from budget_middleware.ledger import Ledger
from budget_middleware.stores.base import Store
from budget_middleware.telemetry.counter_changes import EVENTS_MAX
from budget_middleware.testing import MovableClock, ScriptedApp, call, json_answer
from tests.ledger.conftest import OpenLedger, drain, hold, nanos
from tests.ledger.faults import FaultyStore, reply_lost
from tests.telemetry.conftest import BOTH_SETTINGS, Spans
from tests.telemetry.proof import Change, all_changes, named, only, prove

LIMITS = "key=1/month; key=0.5/day; global=3/day"
BODY = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 10}
ANSWER = {"model": "gpt-4o", "choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 3}}


@BOTH_SETTINGS
async def test_a_request_has_the_changes_of_the_journal(
    base: Store, spans: Spans, open_ledger: OpenLedger, spans_per: str
):
    ledger, held = open_ledger(LIMITS), hold("0.40")
    await ledger.reserve(held)
    await ledger.finalize(held, actual=Amounts(usd=nanos("0.10")))
    await prove(base, spans())
    changes = all_changes(spans())
    assert len(changes) == 6
    assert {change.is_event for change in changes} == {spans_per == "verb"}
    assert len(spans()) == (2 if spans_per == "verb" else 8)


@pytest.mark.parametrize("base", ["memory"], indirect=True)
@pytest.mark.parametrize(("setting", "n_spans"), [({}, 8), ({"spans": "counter"}, 8), ({"spans": "verb"}, 2)])
async def test_the_middleware_does_what_the_setting_says(base: Store, spans: Spans, setting: dict, n_spans: int):
    app = ScriptedApp(*json_answer(ANSWER))
    guarded = BudgetMiddleware(app, limits="key=1/day; key=1/month; global=9/day", store=base, **setting)
    assert (await call(guarded, BODY, headers={"authorization": "Bearer k"})).status == 200
    await guarded.ledger.drain()
    await prove(base, spans())
    assert len(spans()) == n_spans


@pytest.mark.parametrize("spans_per", ["verb"])
async def test_an_event_has_the_status_that_its_verb_has(
    base: Store, clock: MovableClock, spans: Spans, open_ledger: OpenLedger
):
    dead, alive = open_ledger(), open_ledger()
    orphan, held = hold("0.60"), hold("0.90")
    await dead.reserve(orphan)
    clock.advance(s=61)
    await alive.reserve(held)
    await dead.finalize(orphan, actual=Amounts(usd=1))
    await alive.release(held)
    await prove(base, spans())
    assert not named(spans(), "budget.counter")
    for name, status in (("budget.expire", "expired"), ("budget.finalize", "finalized_late")):
        verb = only(spans(), name)
        assert verb.status.status_code is StatusCode.ERROR
        assert [(event.attributes or {})["budget.status"] for event in verb.events] == [status]


@pytest.mark.parametrize("spans_per", ["verb"])
@pytest.mark.parametrize("swept_by", ["sweep", "reserve"])
async def test_of_more_changes_than_a_span_keeps_as_events_none_is_lost(
    base: Store, clock: MovableClock, spans: Spans, *, open_ledger: OpenLedger, swept_by: str
):
    """An SDK keeps 128 events of a span and drops the oldest of more."""
    assert (SpanLimits().max_events or 0) > EVENTS_MAX
    ledger = open_ledger("key=9/month; key=9/day; key=9/week; global=9/day; global=9/week; global=9/month; key=9/hour")
    for _ in range(16):
        await ledger.reserve(hold("0.01"))
    clock.advance(s=61)
    if swept_by == "reserve":
        await ledger.reserve(hold("0.01"))
    await drain(ledger)
    await ledger.sweep()
    expired = [change for change in all_changes(spans()) if change.attributes["budget.op"] == "expire"]
    assert len(expired) >= 16 * 7
    assert sum(not change.is_event for change in expired) == len(expired) - EVENTS_MAX
    await prove(base, spans())


@pytest.mark.parametrize("spans_per", ["verb"])
async def test_what_is_known_when_the_verbs_span_has_ended_is_a_span_below_it(
    base: Store, faults: FaultyStore, spans: Spans, ledger: Ledger
):
    await ledger.reserve(hold("0"))
    faults.meets("reserve", reply_lost)
    held = hold("0.60")
    await ledger.reserve(held)
    await drain(ledger)
    late: list[Change] = [change for change in all_changes(spans()) if not change.is_event]
    assert [(change.attributes["budget.reservation.id"], change.verb.name) for change in late] == [
        (held.id, "budget.reserve")
    ]
    await prove(base, spans())
    await ledger.release(held)
