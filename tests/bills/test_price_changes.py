"""Prices that change while a request runs: it is billed at those of its estimate, whatever the source."""

import copy
import sys
from decimal import Decimal
from types import ModuleType

import pytest
from genai_prices.data_snapshot import DataSnapshot, set_custom_snapshot
from genai_prices.types import ClauseStartsWith, ModelInfo, ModelPrice, Provider

from budget_middleware.core.costs.pricing import UsageClass
from budget_middleware.core.money import nanos_from_usd
from budget_middleware.testing import ScriptedApp, call
from tests.request.wire import bearer, completion

NOON_S = 1_795_521_600.0
BODY = {"model": "gpt-4o", "max_tokens": 10, "messages": []}
# A version that the gateway has not asked for by name, so that its price is looked up when the answer has come.
VERSION = "gpt-4o-2024-08-06"


async def costs(guard, *, model="gpt-4o"):
    """What two calls cost, one after the other."""
    told = []
    for _ in range(2):
        answer = await call(guard, {**BODY, "model": model}, path="/v1/chat/completions", headers=bearer())
        assert answer.status == 200, answer.body
        told.append(answer.headers["x-budget-cost-usd"])
    return told


def while_it_runs(change, *, answered):
    """An app of a thousand tokens, during whose first call something happens."""
    scripted = ScriptedApp(*completion(1_000, model=answered))
    changes = iter([change])

    async def app(scope, receive, send):
        next(changes, lambda: None)()
        await scripted(scope, receive, send)

    return app


def litellm_entry(usd_out):
    return {
        "litellm_provider": "openai",
        "mode": "chat",
        "input_cost_per_token": 0.0,
        "output_cost_per_token": usd_out,
        "search_context_cost_per_query": {"search_context_size_medium": 0.01},
    }


@pytest.fixture
def litellm(monkeypatch):
    module = ModuleType("litellm")
    entries = {"gpt-4o": litellm_entry(1e-5), VERSION: litellm_entry(2e-5)}
    monkeypatch.setattr(module, "model_cost", entries, raising=False)
    monkeypatch.setitem(sys.modules, "litellm", module)
    return module


def raise_in_place(module):
    for entry in module.model_cost.values():
        entry["output_cost_per_token"] *= 7
        entry["search_context_cost_per_query"]["search_context_size_medium"] = 9.0


def replace_the_map(module):
    """As LiteLLM does when it loads its map anew."""
    module.model_cost = {name: litellm_entry(7e-5) for name in module.model_cost}


def forget_all(module):
    module.model_cost.clear()


@pytest.mark.parametrize("change", [raise_in_place, replace_the_map, forget_all])
@pytest.mark.parametrize(("answered", "usd"), [("gpt-4o", "0.01"), (VERSION, "0.02")])
async def test_litellms_map_changes_under_way(memory, litellm, change, answered, usd):
    app = while_it_runs(lambda: change(litellm), answered=answered)
    guard = memory.guard(app, limits="key=100/month")
    before = copy.deepcopy(litellm.model_cost)
    # It is taken as it was when the gateway started: a new one counts from the next start.
    assert await costs(guard) == [usd, usd]
    assert litellm.model_cost != before
    # So are prices that stand deeper in it.
    rates = guard.ledger.prices.resolve(VERSION)
    assert rates is not None
    assert rates.of(UsageClass.WEB_SEARCH).nanos_per_million == nanos_from_usd("10000")


def snapshot(usd_out):
    def model(name, usd):
        price = ModelPrice(input_mtok=Decimal(0), output_mtok=Decimal(usd))
        return ModelInfo(id=name, match=ClauseStartsWith(name), prices=price)

    models = [model(VERSION, 2 * usd_out), model("gpt-4o", usd_out)]
    openai = Provider(id="openai", name="OpenAI", api_pattern="", model_match=ClauseStartsWith("gpt"), models=models)
    return DataSnapshot(providers=[openai], from_auto_update=True)


@pytest.fixture
def published():
    set_custom_snapshot(snapshot(10))
    yield
    set_custom_snapshot(None)


@pytest.mark.parametrize(("answered", "usd", "later"), [("gpt-4o", "0.01", "0.07"), (VERSION, "0.02", "0.14")])
@pytest.mark.parametrize("is_forgotten", [False, True])
@pytest.mark.parametrize("place", ["while it waits for the store", "while it runs"])
async def test_a_newer_list_of_genai_prices_comes_under_way(
    memory, published, *, answered, usd, later, is_forgotten, place
):
    now = [NOON_S]

    def change():
        now[0] += 600
        set_custom_snapshot(snapshot(70))
        if is_forgotten:
            # As if so many other names had been asked for meanwhile.
            guard.ledger.prices._known_at.cache_clear()
            guard.ledger.prices._answered_at.cache_clear()

    is_waiting = place == "while it waits for the store"
    app = while_it_runs((lambda: None) if is_waiting else change, answered=answered)
    guard = memory.guard(app, limits="key=100/month")
    guard.ledger.prices._clock = lambda: now[0]
    if is_waiting:
        before = memory.store_of(guard).before

        async def change_once():
            del before["reserve"]
            change()

        before["reserve"] = change_once
    assert await costs(guard) == [usd, later]
