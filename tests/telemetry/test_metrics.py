"""Every instrument, with attributes that stay few however many keys and teams there are."""

import asyncio
import json
from typing import Any

import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from budget_middleware import BudgetMiddleware
from budget_middleware.core.units import Amounts
from budget_middleware.ledger import Hold, Ledger
from budget_middleware.prices import PriceBook, UnknownModel
from budget_middleware.stores.base import Store
from budget_middleware.testing import Gate, MovableClock, ScriptedApp, call, json_answer
from tests.ledger.conftest import OpenLedger, drain, hold, nanos
from tests.ledger.faults import FaultyStore, reply_held, reply_lost, request_lost
from tests.stores.verbs import reserve, target
from tests.telemetry.conftest import Spans
from tests.telemetry.proof import id_of, only

ALLOWED = {
    "budget.reserve.duration": {"status"},
    "budget.wait.duration": {"end"},
    "budget.store.duration": {"op"},
    "budget.requests": {"status", "model"},
    "budget.cost": {"model"},
    "budget.estimate.ratio": {"model"},
    "budget.reservations.expired": set(),
    "budget.reservations.grown": {"model"},
    "budget.reservations.oldest": set(),
    "budget.reserved": {"kind"},
    "budget.spool.size": set(),
    "budget.spool.lost": set(),
    "budget.refusals.unlogged": set(),
    "budget.usages.unreconciled": {"kind", "model"},
    "budget.limits.passed": {"kind", "mode", "unit"},
    "budget.alerts.raised": {"rule"},
    "budget.alerts.deliveries": {"shape", "outcome"},
    "budget.alerts": {"kind", "mode", "unit", "percent"},
}

pytestmark = pytest.mark.parametrize("base", ["memory"], indirect=True)


def points(reader: InMemoryMetricReader) -> dict[str, list[Any]]:
    data = reader.get_metrics_data()
    found: dict[str, list[Any]] = {}
    for resource in data.resource_metrics if data else ():
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                found.setdefault(metric.name, []).extend(metric.data.data_points)
    return found


async def test_every_instrument_emits_with_bounded_attributes(
    base: Store, clock: MovableClock, metric_reader: InMemoryMetricReader, open_ledger: OpenLedger
):
    ledger = open_ledger("key=1/month; team=2/day; key=5/day")
    for at in range(5):
        held = Hold({"key": f"canary{at}", "team": "canary"}, Amounts(usd=nanos("0.10")), model="canary-model")
        await ledger.reserve(held)
        await ledger.finalize(held, actual=Amounts(usd=nanos("0.05")))
        ledger.telemetry.metrics.count_request(status="complete", model="other")
        ledger.telemetry.metrics.count_cost(actual_nanos=nanos("0.05"), estimate_nanos=nanos("0.10"), model="other")
    ledger.telemetry.metrics.count_wait(seconds=1.5, end="admitted", context=None)
    ledger.telemetry.metrics.count_lost()
    ledger.telemetry.metrics.count_raised(rule="spent")
    ledger.telemetry.metrics.count_delivery(shape="webhook", outcome="sent")
    ledger.telemetry.metrics.count_unreconciled(kind="no_input", model="other")
    orphan = Hold({"key": "canary-orphan", "team": "canary"}, Amounts(usd=nanos("0.10")))
    await ledger.reserve(orphan)
    await ledger.sweep()
    found = points(metric_reader)
    assert {point.attributes["kind"]: point.value for point in found["budget.reserved"]} == {"key": 0.1, "team": 0.1}
    clock.advance(s=61)
    await ledger.sweep()
    found = points(metric_reader)
    assert set(found) == set(ALLOWED)
    for name, allowed in ALLOWED.items():
        assert all(set(point.attributes) == allowed for point in found[name]), name
    assert "canary" not in json.dumps([dict(point.attributes) for each in found.values() for point in each])
    assert [point.value for point in found["budget.reservations.expired"]] == [1]
    assert [point.value for point in found["budget.cost"]] == [0.25]
    assert [point.sum for point in found["budget.estimate.ratio"]] == [10]
    assert [point.count for point in found["budget.reserve.duration"]] == [6]
    assert {point.value for point in found["budget.reserved"]} == {0.0}


async def test_a_reservation_that_grows_twice_is_counted_once(metric_reader: InMemoryMetricReader, ledger: Ledger):
    for name in ("canary", "other"):
        async with ledger.reservation({"team": name}, estimate_usd="0.10", model=name) as reservation:
            await reservation.grow("0.20")
            await reservation.grow("0.40")
    grown = points(metric_reader)["budget.reservations.grown"]
    # Of models only the price book's names.
    assert [(dict(point.attributes), point.value) for point in grown] == [({"model": "other"}, 2)]


async def test_what_expired_is_counted_once_whatever_is_lost(
    base: Store,
    faults: FaultyStore,
    clock: MovableClock,
    *,
    spans: Spans,
    metric_reader: InMemoryMetricReader,
    open_ledger: OpenLedger,
):
    """More than one call expires in passing, some of whose replies are lost: told from the journal with the rest."""
    ledger = open_ledger("key=1/month; key=1/day")
    for at in range(50):
        await base.reserve(reserve(f"orphan{at}", "0.01", target(limit="1.00"), lease_s=30))
    clock.advance(s=31)
    faults.meets("reserve", _sound, _sound, reply_lost)
    await ledger.reserve(hold("1.00"))
    await ledger.sweep()
    await drain(ledger)
    assert [point.value for point in points(metric_reader)["budget.reservations.expired"]] == [50]


async def _sound(apply: Any) -> Any:
    return await apply()


async def test_the_spool_is_as_long_as_what_waits(
    faults: FaultyStore, metric_reader: InMemoryMetricReader, ledger: Ledger
):
    gate = Gate()
    holds = [hold("0.10") for _ in range(3)]
    for held in holds:
        await ledger.reserve(held)
    faults.meets("finalize", *[request_lost] * 3, *[reply_held(gate)] * 3)
    endings = [ledger.finalize(held, actual=Amounts(usd=1)) for held in holds]
    await gate.reached(3)
    assert [point.value for point in points(metric_reader)["budget.spool.size"]] == [3]
    gate.open()
    for ending in endings:
        await ending
    assert [point.value for point in points(metric_reader)["budget.spool.size"]] == [0]


async def test_neither_token_nor_prompt_is_told(
    base: Store, spans: Spans, metric_reader: InMemoryMetricReader, caplog: pytest.LogCaptureFixture
):
    """Through the middleware, with everything that a request carries."""
    usage = {"prompt_tokens": 9, "completion_tokens": 3}
    answer = {"model": "gpt-4o", "choices": [{"message": {"content": "CANARY-answer"}}], "usage": usage}
    app = BudgetMiddleware(ScriptedApp(*json_answer(answer)), limits="key=0.0003/day", store=base)
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "CANARY-prompt"}], "max_tokens": 10}
    headers = {"authorization": "Bearer CANARY-token", "cookie": "CANARY-cookie", "baggage": "user=CANARY-baggage"}
    statuses = [(await call(app, body, headers=headers)).status for _ in range(8)]
    assert {200, 429} == set(statuses)
    await app.ledger.drain()
    told = "".join(span.to_json() for span in spans())
    told += json.dumps([dict(point.attributes) for each in points(metric_reader).values() for point in each])
    assert "budget.counter" in told
    assert "CANARY" not in told + caplog.text


async def test_a_request_that_breaks_after_its_answer_is_counted_once(base: Store, metric_reader: InMemoryMetricReader):
    answer = {"model": "gpt-4o", "choices": [], "usage": {"prompt_tokens": 400, "completion_tokens": 300}}
    app = BudgetMiddleware(ScriptedApp(*json_answer(answer), RuntimeError("late")), limits="key=1/day", store=base)
    body = {"model": "gpt-4o", "messages": [], "max_tokens": 1_000}
    await call(app, body, headers={"authorization": "Bearer k"})
    await app.ledger.drain()
    found = points(metric_reader)
    assert [(dict(point.attributes), point.value) for point in found["budget.requests"]] == [
        ({"status": "complete", "model": "gpt-4o"}, 1)
    ]
    assert [point.value for point in found["budget.cost"]] == [0.004]


async def test_an_ending_without_room_is_counted(
    faults: FaultyStore, metric_reader: InMemoryMetricReader, open_ledger: OpenLedger
):
    ledger = open_ledger(spool_max=1)
    holds = [hold("0.10") for _ in range(2)]
    for held in holds:
        await ledger.reserve(held)
    gate = Gate()
    faults.meets("finalize", *[request_lost] * 2, reply_held(gate))
    endings = [ledger.finalize(held, actual=Amounts(usd=1)) for held in holds]
    await gate.reached(1)
    assert [point.value for point in points(metric_reader)["budget.spool.lost"]] == [1]
    gate.open()
    for ending in endings:
        await ending


async def test_an_exemplar_leads_to_the_trace(base: Store, spans: Spans, metric_reader: InMemoryMetricReader):
    usage = {"prompt_tokens": 9, "completion_tokens": 3}
    answer = {"model": "gpt-4o", "choices": [], "usage": usage}
    app = BudgetMiddleware(ScriptedApp(*json_answer(answer)), limits="key=1/day", store=base)
    body = {"model": "gpt-4o", "messages": [], "max_tokens": 10}
    traceparent = f"00-{'a' * 32}-{'b' * 16}-01"
    await call(app, body, headers={"authorization": "Bearer k", "traceparent": traceparent})
    await app.ledger.drain()
    reserve = only(spans(), "budget.reserve")
    exemplars = {
        name: [e for point in of for e in point.exemplars]
        for name, of in points(metric_reader).items()
        if "spool" not in name
    }
    [waited] = exemplars["budget.reserve.duration"]
    assert (f"{waited.trace_id:032x}", f"{waited.span_id:016x}") == id_of(reserve)
    for name in ("budget.requests", "budget.cost", "budget.estimate.ratio"):
        [exemplar] = exemplars[name]
        assert f"{exemplar.trace_id:032x}" == "a" * 32, name


async def test_durations_and_ratios_fall_into_buckets_that_tell_something(
    base: Store, clock: MovableClock, metric_reader: InMemoryMetricReader, ledger: Ledger
):
    """An SDK's own bounds would put every call of less than 5 s into one."""
    held = hold("0.10")
    await ledger.reserve(held)
    await ledger.finalize(held, actual=Amounts(usd=nanos("0.05")))
    found = points(metric_reader)
    for name in ("budget.reserve.duration", "budget.store.duration"):
        assert {point.explicit_bounds[:3] for point in found[name]} == {(0.0005, 0.001, 0.0025)}, name
    assert {point.attributes["op"] for point in found["budget.store.duration"]} == {"reserve", "finalize"}


async def test_the_oldest_reservation_is_the_one_that_runs_longest(
    metric_reader: InMemoryMetricReader, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
):
    def oldest_s() -> float:
        [point] = points(metric_reader)["budget.reservations.oldest"]
        return float(point.value)

    assert oldest_s() == 0
    first, second = hold("0.10"), hold("0.10")
    first.since_s -= 100
    second.since_s -= 10
    for held in (first, second):
        await ledger.reserve(held)
    assert 100 <= oldest_s() < 110
    await ledger.finalize(first, actual=Amounts(usd=1))
    assert 10 <= oldest_s() < 20
    await ledger.release(second)
    assert oldest_s() == 0


async def test_a_batch_jobs_cost_is_counted(metric_reader: InMemoryMetricReader, open_ledger: OpenLedger):
    ledger = open_ledger(prices=PriceBook({}, unknown=UnknownModel(None)))
    for model in ("gpt-4o", "canary-model", ""):
        async with ledger.reservation({"team": "a"}, estimate_usd="0.02", model=model) as budget:
            budget.add_cost("0.01")
    with pytest.raises(ZeroDivisionError):
        async with ledger.reservation({"team": "a"}, estimate_usd="0.02"):
            raise ZeroDivisionError
    found = points(metric_reader)
    assert {point.attributes["model"]: point.value for point in found["budget.cost"]} == {"gpt-4o": 0.01, "other": 0.02}
    assert {point.count for point in found["budget.estimate.ratio"]} == {1, 2}


async def test_an_exemplar_of_a_refusal_leads_to_its_trace(
    base: Store, spans: Spans, metric_reader: InMemoryMetricReader
):
    app = BudgetMiddleware(ScriptedApp(*json_answer({})), limits="key=0/day", store=base)
    headers = {"authorization": "Bearer k", "traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}
    refused = await call(app, {"model": "gpt-4o", "messages": [], "max_tokens": 10}, headers=headers)
    assert refused.status == 429
    [point] = points(metric_reader)["budget.requests"]
    assert point.attributes["status"] == "spent"
    assert [f"{exemplar.trace_id:032x}" for exemplar in point.exemplars] == ["a" * 32]
    await app.ledger.drain()


async def test_two_ledgers_of_one_process_are_both_told(
    faults: FaultyStore, metric_reader: InMemoryMetricReader, open_ledger: OpenLedger
):
    """As mounted sub-apps have them: an SDK keeps the first instrument of a name, the second's callbacks are lost."""
    gate, ledgers = Gate(), [open_ledger(), open_ledger()]
    faults.meets("finalize", *[request_lost] * 2, *[reply_held(gate)] * 2)
    held = [hold("0.10"), hold("0.10")]
    held[1].since_s -= 100
    for ledger, each in zip(ledgers, held, strict=True):
        await ledger.reserve(each)
    await ledgers[1].sweep()
    found = points(metric_reader)
    assert [point.value >= 100 for point in found["budget.reservations.oldest"]] == [True]
    assert [point.value for point in found["budget.reserved"]] == [0.2], "what the store says, and not once a ledger"
    endings = [ledger.finalize(each, actual=Amounts(usd=1)) for ledger, each in zip(ledgers, held, strict=True)]
    await gate.reached(2)
    assert [point.value for point in points(metric_reader)["budget.spool.size"]] == [2]
    gate.open()
    await asyncio.gather(*endings)
