"""No attribute is made that nobody reads: whoever makes a mapping of them hashes their names, and these notice."""

import asyncio
from collections import Counter

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, TraceIdRatioBased

from budget_middleware import BudgetMiddleware
from budget_middleware.core.units import Amounts
from budget_middleware.ledger import Ledger
from budget_middleware.stores.base import Store
from budget_middleware.telemetry import names
from budget_middleware.testing import MovableClock, ScriptedApp, call, json_answer
from tests.ledger.conftest import OpenLedger, hold, nanos
from tests.ledger.waiting.test_waiting_lines import Client
from tests.telemetry.conftest import UseProvider
from tests.telemetry.proof import with_events

pytestmark = pytest.mark.parametrize("base", ["memory"], indirect=True)

AT_START = {
    names.RESERVATION_ID,
    names.ESTIMATE_USD,
    names.ESTIMATE_BY,
    names.ESTIMATE_OUTPUT_TOKENS,
    names.ESTIMATE_MEAN_TOKENS,
    names.ESTIMATE_ANSWERS,
    names.AMOUNT_USD,
    names.REASON,
    names.PROVIDER_NAME,
    names.REQUEST_MODEL,
    names.RESPONSE_MODEL,
    names.INPUT_TOKENS,
    names.OUTPUT_TOKENS,
}
"""What a sampler is shown of a verb's span, and so is made before it decides."""

BODY = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 10}
ANSWER = {"model": "gpt-4o", "choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 3}}

ONLY_WITH_SHARDS = "budget.journal.shard"


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each attribute's name has become the key of a mapping."""
    counted: Counter[str] = Counter()

    class Noticing(str):
        __slots__ = ()

        def __hash__(self) -> int:
            counted[str(self)] += 1
            return str.__hash__(self)

    for name, value in vars(names).items():
        if name.isupper() and isinstance(value, str) and value.startswith(("budget.", "gen_ai.")):
            monkeypatch.setattr(names, name, Noticing(value))
    return counted


async def _everything(store: Store, clock: MovableClock, open_ledger: OpenLedger) -> None:
    """Requests that are answered, fail, are refused and wait; a lease that runs out and a late ending; an operator."""
    for app in (ScriptedApp(*json_answer(ANSWER)), ScriptedApp(*json_answer({}, status=500))):
        guarded = BudgetMiddleware(app, limits="key=0.0003/day", store=store)
        headers = {"authorization": "Bearer k"}
        statuses = {(await call(guarded, BODY, headers=headers)).status for _ in range(6)}
        assert 429 in statuses or 500 in statuses
        await guarded.ledger.drain()
    ledger: Ledger = open_ledger("key=1/month!alert=1; key=1/day; key=0.05/day!soft; key=0.01/day!shadow")
    orphan = hold("0.10")
    await ledger.reserve(orphan)
    await ledger.reserve(hold("0.95"), caller=Client(0.01))
    clock.advance(s=61)
    await ledger.sweep()
    await ledger.finalize(orphan, actual=Amounts(usd=nanos("0.01")))
    await ledger.adjust(await ledger.claims({"key": "a"}, model=""), amount=Amounts(usd=1), reason="x")
    await ledger.drain()


@pytest.mark.parametrize("provider", [None, trace.NoOpTracerProvider()], ids=["none", "no-op"])
async def test_without_a_provider_none_is_made(
    base: Store,
    clock: MovableClock,
    open_ledger: OpenLedger,
    *,
    made: Counter[str],
    monkeypatch: pytest.MonkeyPatch,
    provider: trace.TracerProvider | None,
):
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    await _everything(base, clock, open_ledger)
    assert not made


async def test_not_sampled_only_what_the_sampler_is_shown_is_made(
    base: Store, clock: MovableClock, open_ledger: OpenLedger, *, made: Counter[str], use_provider: UseProvider
):
    spans = use_provider(sampler=ALWAYS_OFF)
    await _everything(base, clock, open_ledger)
    assert spans() == ()
    assert set(made) == AT_START


async def test_sampled_all_are_made(
    base: Store, clock: MovableClock, open_ledger: OpenLedger, *, made: Counter[str], use_provider: UseProvider
):
    """Else the tests above would prove nothing."""
    spans = use_provider(sampler=ALWAYS_ON)
    await _everything(base, clock, open_ledger)
    read = {_with_any_class(name) for span in spans() for name in span.attributes or {}}
    read |= {name for span in spans() for event in span.events for name in event.attributes or {}}
    assert read == AT_START | {*_of_counters(), names.STATUS}
    assert set(made) - {names.COUNTER_SPAN, *names.LIMIT_EVENTS, ONLY_WITH_SHARDS} == read
    # Exactly these: an enum's member is a text too, but an exporter may write it otherwise, and ours is slow with it.
    values = [value for told in with_events(spans()) for value in (told.attributes or {}).values()]
    assert {type(value) for value in values} == {str, int, float}


async def test_of_some_sampled_only_theirs_are_made(
    base: Store, open_ledger: OpenLedger, *, made: Counter[str], use_provider: UseProvider
):
    seq = "budget.journal.seq"
    use_provider(sampler=ALWAYS_ON)
    await open_ledger().reserve(hold("0.01"))
    n_for_each = made.pop(seq)
    spans = use_provider(sampler=TraceIdRatioBased(0.3))
    ledger = open_ledger("key=1000/month")
    await asyncio.gather(*(ledger.reserve(hold("0.01")) for _ in range(100)))
    told = [span for span in spans() if span.name == "budget.counter"]
    assert 0 < len(told) < 100
    assert made[seq] == n_for_each * len(told)


def _with_any_class(name: str) -> str:
    """The attribute's name in the code, which has one for all classes of usage."""
    prefix, _, _ = names.USAGE_OF_CLASS.partition("<")
    return names.USAGE_OF_CLASS if name.startswith(prefix) else name


def _of_counters() -> set[str]:
    of_verbs = {*AT_START, names.STATUS, names.COUNTER_SPAN, *names.LIMIT_EVENTS, ONLY_WITH_SHARDS}
    constants = {value for name, value in vars(names).items() if name.isupper() and isinstance(value, str)}
    return {value for value in constants if value.startswith("budget.")} - of_verbs
