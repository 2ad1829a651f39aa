"""The finalize span tells what was counted of each class, and whose prices it was billed at."""

from budget_middleware import BudgetMiddleware
from budget_middleware.core.costs.pricing import UsageClass
from budget_middleware.core.units import Amounts
from budget_middleware.stores.memory.store import MemoryStore
from budget_middleware.telemetry import names
from budget_middleware.testing import ScriptedApp, call, json_answer
from tests.ledger.conftest import OpenLedger, hold, nanos
from tests.ledger.faults import FaultyStore
from tests.telemetry.conftest import Spans
from tests.telemetry.proof import only

USAGE = {
    "prompt_tokens": 1_000,
    "completion_tokens": 300,
    "prompt_tokens_details": {"cached_tokens": 900},
    "completion_tokens_details": {"reasoning_tokens": 100},
}
ASK = {"model": "gpt-4o", "messages": []}


def told_of_bill(spans: Spans) -> dict[str, object]:
    attributes = dict(only(spans(), "budget.finalize").attributes or {})
    return {name: value for name, value in attributes.items() if name.startswith(("budget.usage.", names.PRICE_SOURCE))}


async def test_classes_and_source(spans: Spans):
    answer = json_answer({"model": "gpt-4o", "usage": USAGE})
    guard = BudgetMiddleware(ScriptedApp(*answer), store=MemoryStore())
    assert (await call(guard, ASK)).status == 200
    await guard.ledger.drain()
    told = told_of_bill(spans)
    assert told == {
        "budget.usage.input": 100,
        "budget.usage.cached_input": 900,
        "budget.usage.output": 200,
        "budget.usage.reasoning": 100,
        "budget.price.source": "genai-prices",
    }
    assert {name.removeprefix("budget.usage.") for name in told} - {names.PRICE_SOURCE} <= set(map(str, UsageClass))


async def test_a_believed_cost_is_the_source_and_what_was_used_is_told_beside(spans: Spans):
    answer = json_answer({"model": "gpt-4o", "usage": {**USAGE, "cost": 0.25}})
    guard = BudgetMiddleware(ScriptedApp(*answer), store=MemoryStore())
    await call(guard, ASK)
    await guard.ledger.drain()
    told = told_of_bill(spans)
    assert told["budget.price.source"] == "provider_cost"
    assert told["budget.usage.cached_input"] == 900


async def test_an_ending_without_a_bill_tells_none(spans: Spans, open_ledger: OpenLedger, faults: FaultyStore):
    ledger = open_ledger()
    held = hold("0.10")
    await ledger.reserve(held)
    await ledger.finalize(held, actual=Amounts(usd=nanos("0.02")), bill="no bill at all")
    assert told_of_bill(spans) == {}
