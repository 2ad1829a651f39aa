"""The names of OpenTelemetry's GenAI conventions, held against the package that lists them."""

import pytest
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes

from budget_middleware import BudgetMiddleware
from budget_middleware.stores.memory.store import MemoryStore
from budget_middleware.telemetry import names
from budget_middleware.testing import ScriptedApp, call, json_answer
from tests.telemetry.conftest import Spans
from tests.telemetry.proof import only

LISTED = {value for name, value in vars(gen_ai_attributes).items() if name.startswith("GEN_AI_")}
# The package has what the conventions held when they moved to a repository of their own; this one came later.
NEWER = {"moonshot_ai"}


def test_attributes_are_those_of_the_conventions():
    ours = {value for value in vars(names).values() if isinstance(value, str) and value.startswith("gen_ai.")}
    assert len(ours) == 5
    assert ours <= LISTED


def test_providers_are_well_known():
    well_known = {provider.value for provider in gen_ai_attributes.GenAiProviderNameValues}
    assert set(names._PROVIDERS.values()) <= well_known | NEWER


@pytest.mark.parametrize(
    ("model", "provider"),
    [("gpt-4o", "openai"), ("gemini-2.5-flash", "gcp.gen_ai"), ("mistral-large-latest", "mistral_ai")],
)
async def test_a_span_names_the_provider(spans: Spans, model: str, provider: str):
    usage = {"prompt_tokens": 1_000, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 900}}
    guard = BudgetMiddleware(ScriptedApp(*json_answer({"model": model, "usage": usage})), store=MemoryStore())
    assert (await call(guard, {"model": model, "messages": []})).status == 200
    await guard.ledger.drain()
    told = dict(only(spans(), "budget.finalize").attributes or {})
    assert {name: value for name, value in told.items() if name.startswith("gen_ai.")} == {
        "gen_ai.provider.name": provider,
        "gen_ai.request.model": model,
        "gen_ai.response.model": model,
        # All of them, those that were cached too.
        "gen_ai.usage.input_tokens": 1_000,
        "gen_ai.usage.output_tokens": 3,
    }
