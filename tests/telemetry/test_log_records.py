"""A log record about a reservation carries its id and its trace, for whoever ships records with their fields."""

import logging
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from opentelemetry import trace

from budget_middleware import BudgetMiddleware
from budget_middleware.core.units import Amounts
from budget_middleware.ledger import Ledger
from budget_middleware.stores.errors import StoreUnavailable
from budget_middleware.testing import MovableClock, ScriptedApp, call, json_answer
from tests.ledger.conftest import hold
from tests.ledger.faults import FaultyStore, refused, request_lost
from tests.telemetry.conftest import Spans
from tests.telemetry.proof import attribute, id_of, only

OpenLedger = Callable[..., Ledger]

pytestmark = pytest.mark.parametrize("base", ["memory"], indirect=True)


def about_a_reservation(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    ours = [record for record in caplog.records if record.name == "budget_middleware"]
    return [record for record in ours if re.search(r"\b[0-9a-f]{32}\b", record.getMessage())]


async def everything_that_is_logged(ledger: Ledger, faults: FaultyStore, clock: MovableClock) -> set[str]:
    """The ids of reservations that something went wrong with."""
    late, spooled, lost = hold("0.01"), hold("0.01"), hold("0.01")
    for held in (late, spooled, lost):
        await ledger.reserve(held)
    clock.advance(s=61)
    await ledger.sweep()
    await ledger._expiries.extend(late)
    faults.always["finalize"] = faults.always["reserve"] = request_lost
    for held in (spooled, lost):
        await ledger.finalize(held, actual=Amounts(usd=1))
    with pytest.raises(StoreUnavailable):
        await ledger.reserve(hold("0.01"))
    await ledger.drain(timeout_s=0)
    return {late.id, spooled.id, lost.id}


async def test_ids_and_traces(
    faults: FaultyStore, spans: Spans, open_ledger: OpenLedger, *, clock: MovableClock, caplog, tmp_path: Path
):
    ledger = open_ledger(store_timeout_s=0.5, spool_path=tmp_path, spool_max=1)
    ids = await everything_that_is_logged(ledger, faults, clock)
    records = about_a_reservation(caplog)
    traces: dict[object, set[str]] = {}
    for span in spans():
        traces.setdefault(attribute(span, "budget.reservation.id"), set()).add(id_of(span)[0])
    for record in records:
        told = record.__dict__
        assert told["budget_reservation_id"] in record.getMessage()
        assert told["budget_trace_id"] in traces[told["budget_reservation_id"]], record.getMessage()
        assert re.fullmatch("[0-9a-f]{16}", told["budget_span_id"])
    assert {record.__dict__["budget_reservation_id"] for record in records} >= ids
    messages = {record.msg for record in records}
    assert len(messages) >= 4, messages


async def test_unprotected(faults: FaultyStore, spans: Spans, *, caplog):
    guard = BudgetMiddleware(ScriptedApp(*json_answer({})), store=faults.store, limits="key=1/day")
    faults.meets("reserve", refused)
    answered = await call(guard, {"model": "gpt-4o", "messages": []}, headers={"authorization": "Bearer sk-1"})
    (record,) = about_a_reservation(caplog)
    assert record.__dict__["budget_reservation_id"] == answered.headers["x-budget-reservation-id"]
    told = record.__dict__["budget_trace_id"], record.__dict__["budget_span_id"]
    assert told == id_of(only(spans(), "budget.reserve"))
    await guard.ledger.drain()


async def test_an_apps_own_fields_are_in_nobodys_way(faults: FaultyStore, spans: Spans, *, caplog, monkeypatch):
    """`logging` refuses an `extra` that a record factory has set already, and it would be the request that fails."""
    made = logging.getLogRecordFactory()

    def with_fields(*arguments, **options):
        record = made(*arguments, **options)
        record.__dict__.update(trace_id="theirs", span_id="theirs", reservation_id="theirs")
        return record

    guard = BudgetMiddleware(ScriptedApp(*json_answer({})), store=faults.store, limits="key=1/day")
    faults.meets("reserve", refused)
    logging.setLogRecordFactory(with_fields)
    try:
        answered = await call(guard, {"model": "gpt-4o", "messages": []}, headers={"authorization": "Bearer sk-1"})
    finally:
        logging.setLogRecordFactory(made)
    assert (answered.status, answered.raised) == (200, None)
    (record,) = about_a_reservation(caplog)
    assert record.__dict__["trace_id"] == "theirs"
    await guard.ledger.drain()


async def test_without_a_provider_the_id_is_there(
    faults: FaultyStore, open_ledger: OpenLedger, *, clock: MovableClock, caplog, monkeypatch, tmp_path: Path
):
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    ledger = open_ledger(store_timeout_s=0.5, spool_path=tmp_path, spool_max=1)
    await everything_that_is_logged(ledger, faults, clock)
    records = about_a_reservation(caplog)
    assert records
    assert {(record.__dict__["budget_trace_id"], record.__dict__["budget_span_id"]) for record in records} == {("", "")}
