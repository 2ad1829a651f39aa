"""Who answers: what falls back to a more expensive model is billed as that, remembered, and held at its price."""

from collections.abc import Sequence

import pytest

from budget_middleware.testing import ScriptedApp, call, event, event_stream, json_answer, start
from tests.request.bench import Bench
from tests.request.wire import DONE, KEY, OTHER_TOKEN, ask, bearer, delta, usage, usage_event
from tests.stores.verbs import whole_journal

PRICES = """
[models.gift]
input = 0
output = 0
[models.other-gift]
input = 0
output = 0
[models.cheap]
input = 0
output = 10
[models.plain]
input = 0
output = 1000
[models."model-router"]
one_of = ["cheap", "plain"]
[models.smart]
one_of = ["gpt-4o", "gpt-4o-mini"]
[models."arn:aws:bedrock:eu-central-1:1:application-inference-profile/p1"]
one_of = ["cheap", "plain"]
"""
FIXED = {"estimate": "expected"}


@pytest.fixture
def prices(price_file) -> str:
    return price_file(PRICES)


def answer(model: str, output_tokens: int = 600, *, headers: Sequence[tuple[bytes, bytes]] = (), **fields):
    document = {"model": model, "choices": [{"message": {"content": "hello"}}], "usage": usage(output_tokens), **fields}
    begin, body = json_answer(document)
    return [{**begin, "headers": [*begin["headers"], *headers]}, body]


def document_of(api: str, model: str) -> dict[str, object]:
    """An answer of 600 tokens, in which an API names the model that answers."""
    documents: dict[str, dict[str, object]] = {
        "anthropic": {
            "type": "message",
            "model": model,
            "content": [{"type": "text", "text": "hello"}],
            "usage": {"input_tokens": 0, "output_tokens": 600},
        },
        "gemini": {
            "modelVersion": model,
            "candidates": [{"content": {"parts": [{"text": "hello"}]}}],
            "usageMetadata": {"promptTokenCount": 0, "candidatesTokenCount": 600, "totalTokenCount": 600},
        },
        "ollama": {
            "model": model,
            "message": {"content": "hello"},
            "done": True,
            "prompt_eval_count": 0,
            "eval_count": 600,
        },
        "responses": {
            "object": "response",
            "status": "completed",
            "model": model,
            "output": [{"type": "message", "content": [{"type": "output_text", "text": "hello"}]}],
            "usage": {"input_tokens": 0, "output_tokens": 600, "total_tokens": 600},
        },
        "bedrock": {
            "output": {"message": {"content": [{"text": "hello"}]}},
            "usage": {"inputTokens": 0, "outputTokens": 600, "totalTokens": 600},
            "trace": {"promptRouter": {"invokedModelId": model}},
        },
    }
    return documents[api]


REQUESTS = {
    "anthropic": ("/v1/messages", {"model": "gift", "max_tokens": 600, "messages": []}),
    "gemini": ("/v1beta/models/gift:generateContent", {"contents": [], "generationConfig": {"maxOutputTokens": 600}}),
    "ollama": ("/api/chat", {"model": "gift", "messages": [], "options": {"num_predict": 600}}),
    "responses": ("/v1/responses", {"model": "gift", "input": "", "max_output_tokens": 600}),
    "bedrock": ("/model/gift/converse", {"messages": [], "inferenceConfig": {"maxTokens": 600}}),
}


async def test_a_spent_key_cannot_go_on_by_a_free_name_that_falls_back(bench: Bench):
    app = ScriptedApp(*answer("plain"))
    guard = bench.guard(app, **FIXED)
    statuses = [(await call(guard, ask(600, model="gift"), headers=bearer())).status for _ in range(4)]
    assert statuses == [200, 429, 429, 429]
    assert await bench.figures() == ("0.60", "0.00")


async def test_another_worker_and_a_restarted_one_know_it_too(bench: Bench):
    one = bench.guard(ScriptedApp(*answer("plain")), **FIXED)
    assert (await call(one, ask(600, model="gift"), headers=bearer())).status == 200
    await bench.settle()
    other = bench.guard(ScriptedApp(*answer("plain")), **FIXED)
    await other.ledger.answering.read()
    assert (await call(other, ask(600, model="gift"), headers=bearer())).status == 429


async def test_what_is_really_free_stays_so_when_the_budget_is_spent(bench: Bench):
    guard = bench.guard(ScriptedApp(*answer("plain")), **FIXED)
    assert (await call(guard, ask(1000, model="plain"), headers=bearer())).status == 200
    guard = bench.guard(ScriptedApp(*answer("gift")), **FIXED)
    assert [(await call(guard, ask(600, model="gift"), headers=bearer())).status for _ in range(3)] == [200] * 3


@pytest.mark.parametrize("api", REQUESTS)
async def test_each_api_says_who_has_answered(memory: Bench, api: str):
    path, body = REQUESTS[api]
    guard = memory.guard(ScriptedApp(*json_answer(document_of(api, "plain"))), **FIXED)
    statuses = [(await call(guard, body, path=path, headers=bearer())).status for _ in range(2)]
    assert statuses == [200, 429]
    assert await memory.figures() == ("0.60", "0.00")


@pytest.mark.parametrize(
    "header", [b"x-ms-served-model", b"x-litellm-model-group", b"X-Kong-LLM-Model", b"cf-aig-model", b"Ngrok-AIG-Model"]
)
async def test_a_gateway_says_it_beside_an_answer_that_names_what_was_asked(memory: Bench, header: bytes):
    guard = memory.guard(ScriptedApp(*answer("gift", headers=[(header, b"plain")])), **FIXED)
    statuses = [(await call(guard, ask(600, model="gift"), headers=bearer())).status for _ in range(2)]
    assert statuses == [200, 429]
    assert await memory.figures() == ("0.60", "0.00")


@pytest.mark.parametrize("value", [b"", b"nobodys", b"two words", b"\xff", b"x" * 300, b"openai/*"])
async def test_a_header_that_names_nobody_changes_nothing(memory: Bench, value: bytes):
    guard = memory.guard(ScriptedApp(*answer("cheap", headers=[(b"x-ms-served-model", value)])), **FIXED)
    await call(guard, ask(600, model="plain"), headers=bearer())
    assert await memory.figures() == ("0.006", "0.00")


@pytest.mark.parametrize(("tries", "spent"), [(b"0", "0.00"), (b"1", "0.0060325"), (b"many", "0.00")])
async def test_a_fallback_of_litellm_costs_what_answers_although_the_name_has_a_price(
    memory: Bench, tries: bytes, spent: str
):
    """`gpt-4o` has no price in the file: what the operator says of the name would count."""
    headers = [(b"x-litellm-attempted-fallbacks", tries)]
    guard = memory.guard(ScriptedApp(*answer("gpt-4o", headers=headers)), **FIXED)
    await call(guard, ask(600, model="gift"), headers=bearer())
    assert await memory.figures() == (spent, "0.00")


async def test_a_fallback_of_litellm_is_held_too_although_the_name_has_a_price(memory: Bench):
    app = ScriptedApp(*answer("gpt-4o", headers=[(b"x-litellm-attempted-fallbacks", b"1")]))
    guard = memory.guard(app, **{**FIXED, "limits": "key=0.001/month"})
    statuses = [(await call(guard, ask(600, model="gift"), headers=bearer())).status for _ in range(2)]
    assert statuses == [200, 429]


@pytest.mark.parametrize("models", [("gift", "plain"), ("plain", "gift"), ("plain", "cheap"), ("cheap", "plain")])
async def test_of_several_models_that_a_stream_names_the_most_expensive_counts(memory: Bench, models: tuple[str, str]):
    events = event_stream(*(delta(model=model) for model in models), usage_event(600, model=models[-1]), "[DONE]")
    guard = memory.guard(ScriptedApp(*events), **FIXED)
    await call(guard, ask(600, model="gift", stream=True), headers=bearer())
    assert await memory.figures() == ("0.60", "0.00")


async def test_a_stream_of_ten_thousand_models_is_bounded(memory: Bench):
    names = [event(delta(model=f"m{n}")) for n in range(10_000)]
    app = ScriptedApp(start(content_type="text/event-stream"), *names, event(usage_event(600, model="plain")), DONE)
    guard = memory.guard(app, **FIXED)
    await call(guard, ask(600, model="cheap", stream=True), headers=bearer())
    assert await memory.figures() == ("0.60", "0.00")
    assert guard.ledger.answering.of("cheap", account=KEY) == ("plain",)


async def test_a_hold_of_a_router_is_that_of_its_most_expensive_model(memory: Bench):
    guard = memory.guard(ScriptedApp(*answer("cheap")), **FIXED)
    played = await call(guard, ask(600, model="model-router"), headers=bearer())
    assert (played.status, played.headers["x-budget-estimate-usd"]) == (200, "0.60")
    # And is billed as what has answered.
    assert await memory.figures() == ("0.006", "0.00")


async def test_a_router_of_published_models_is_billed_as_what_has_answered(memory: Bench):
    guard = memory.guard(ScriptedApp(*answer("gpt-4o-mini-2024-07-18", usage=usage(600, 1_000))), **FIXED)
    played = await call(guard, ask(600, model="smart"), headers=bearer())
    assert played.headers["x-budget-estimate-usd"].startswith("0.0060")
    assert await memory.figures() == ("0.00051", "0.00")


@pytest.mark.parametrize("answered", ["model-router", "nobodys", ""])
async def test_a_router_that_names_nobody_costs_its_most_expensive_model(memory: Bench, answered: str):
    guard = memory.guard(ScriptedApp(*answer(answered)), **FIXED)
    await call(guard, ask(600, model="model-router"), headers=bearer())
    assert await memory.figures() == ("0.60", "0.00")


async def test_an_inference_profile_is_named_by_its_arn(memory: Bench):
    path = "/model/arn%3Aaws%3Abedrock%3Aeu-central-1%3A1%3Aapplication-inference-profile%2Fp1/converse"
    body = {"messages": [], "inferenceConfig": {"maxTokens": 600}}
    guard = memory.guard(ScriptedApp(*json_answer(document_of("bedrock", "cheap"))), **FIXED)
    played = await call(guard, body, path=path, headers=bearer())
    assert (played.status, played.headers["x-budget-estimate-usd"]) == (200, "0.60")
    assert await memory.figures() == ("0.006", "0.00")


@pytest.mark.parametrize("model", ["auto", "openrouter/auto", "@preset/mine", "openrouter/@preset/mine"])
@pytest.mark.parametrize(("unknown", "status"), [("reject", 400), ("0/1000", 200)])
async def test_a_router_without_a_list_costs_what_unknown_models_do(
    memory: Bench, model: str, unknown: str, status: int
):
    guard = memory.guard(ScriptedApp(*answer("cheap")), unknown_model=unknown, **FIXED)
    played = await call(guard, ask(600, model=model), headers=bearer())
    assert played.status == status
    assert await memory.figures() == (("0.006" if status == 200 else "0.00"), "0.00")


async def test_a_router_without_a_list_is_held_at_what_has_answered(memory: Bench):
    app = ScriptedApp(*answer("plain"))
    guard = memory.guard(app, unknown_model="0/1", **FIXED)
    statuses = [(await call(guard, ask(600, model="openrouter/auto"), headers=bearer())).status for _ in range(2)]
    assert statuses == [200, 429]


@pytest.mark.parametrize(
    ("asked", "unknown", "spent"),
    [
        ("cheap", "0/1000", "0.60"),
        ("cheap", "0/1", "0.006"),
        ("cheap", "free", "0.006"),
        ("cheap", "reject", "0.006"),
    ],
)
async def test_an_unknown_model_that_answers_costs_the_dearer_of_two_rules(
    memory: Bench, asked: str, unknown: str, spent: str
):
    """An operator's own price for what was asked counts whoever answers, so a fallback is what makes it unknown."""
    app = ScriptedApp(*answer("nobodys", headers=[(b"x-litellm-attempted-fallbacks", b"1")]))
    guard = memory.guard(app, unknown_model=unknown, **FIXED)
    await call(guard, ask(600, model=asked), headers=bearer())
    assert await memory.figures() == (spent, "0.00")
    assert guard.ledger.answering.of(asked, account=KEY) == ()


async def test_who_names_several_models_teaches_nobody_else(memory: Bench):
    """The client may have chosen whom the gateway falls back to: others are not held at that."""
    guard = memory.guard(ScriptedApp(*answer("plain")), **FIXED)
    own = ask(600, model="gift", models=["other-gift"])
    statuses = [(await call(guard, own, headers=bearer())).status for _ in range(2)]
    assert statuses == [200, 429]
    played = await call(guard, ask(600, model="gift"), headers=bearer(OTHER_TOKEN))
    assert played.headers["x-budget-estimate-usd"] == "0.00"


async def test_a_learned_estimate_holds_the_price_of_who_answers(memory: Bench):
    guard = memory.guard(ScriptedApp(*answer("plain", 100)), estimate="learned", limits="key=100/month")
    request = ask(600, model="gift")
    estimates = [(await call(guard, request, headers=bearer())).headers["x-budget-estimate-usd"] for _ in range(2)]
    assert estimates == ["0.00", "0.60"]


async def test_the_journal_says_who_was_asked_and_who_has_answered(memory: Bench):
    guard = memory.guard(ScriptedApp(*answer("plain")), **FIXED)
    await call(guard, ask(600, model="gift"), headers=bearer())
    await memory.settle()
    reasons = [entry.reason for entry in await whole_journal(memory.reader) if entry.op == "finalize"]
    assert reasons == ["usage, asked gift, answered by plain"]
