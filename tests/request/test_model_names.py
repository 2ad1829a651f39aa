"""The model wherever a gateway takes it from: of several the dearest is estimated, and the limits of all bind."""

import pytest

from budget_middleware.apis import APIS
from budget_middleware.testing import ScriptedApp, call, json_answer
from tests.request.wire import KEY, ask, bearer, completion, usage

PRICES = """
[models."gpt-5-nano"]
input = 0
output = 100
[models."gpt-5-pro"]
input = 0
output = 1000
[models.alias]
same_as = "gpt-5-pro"
[models."azure/dear"]
input = 0
output = 1000
[models."gemini-pro"]
input = 0
output = 1000
"""
BODY = ask(400, model="gpt-5-nano")
ANSWER = {"usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 1}}


@pytest.fixture
def prices(price_file):
    return price_file(PRICES)


def asked_for(query="", **fields):
    return {"headers": bearer(), "scope": {"query_string": query.encode()}, **fields}


# How a request may name gpt-5-pro beside the gpt-5-nano of its body, and each is held at its price.
TWO_NAMES = {
    "query": (BODY, asked_for("model=gpt-5-pro")),
    "query, encoded": (BODY, asked_for("x=1&%6dodel=gpt-5%2Dpro")),
    "query, twice": (BODY, asked_for("model=gpt-5-nano&model=gpt-5-pro")),
    "query, by an alias": (BODY, asked_for("model=alias")),
    "deployment": (BODY, asked_for(path="/openai/deployments/gpt-5-pro/chat/completions")),
    "deployment with a provider": (BODY, asked_for(path="/openai/deployments/azure/dear/chat/completions")),
    "engine": (BODY, asked_for(path="/engines/gpt-5-pro/chat/completions")),
    "the path is cheap": (
        {**BODY, "model": "gpt-5-pro"},
        asked_for(path="/openai/deployments/gpt-5-nano/chat/completions"),
    ),
    "all three": (BODY, asked_for("model=gpt-5-nano", path="/engines/gpt-5-pro/chat/completions")),
    "fallbacks": ({**BODY, "fallbacks": ["gpt-5-nano", {"model": "gpt-5-pro"}]}, asked_for()),
    "models to fall back to": ({**BODY, "models": ["nobodys", "gpt-5-pro"]}, asked_for()),
    "fallbacks by name": ({**BODY, "fallbacks": [{"gpt-5-nano": ["nobodys", "gpt-5-pro"]}]}, asked_for()),
    "fallbacks for long input": ({**BODY, "context_window_fallbacks": [{"gpt-5-nano": ["gpt-5-pro"]}]}, asked_for()),
    "fallbacks in settings": ({**BODY, "router_settings_override": {"fallbacks": ["gpt-5-pro"]}}, asked_for()),
    "models of OpenRouter by LiteLLM": ({**BODY, "extra_body": {"models": ["gpt-5-pro"]}}, asked_for()),
    "the model of extra_body": ({**BODY, "extra_body": {"model": "gpt-5-pro"}}, asked_for()),
}


@pytest.mark.parametrize(("body", "request_"), TWO_NAMES.values(), ids=TWO_NAMES)
async def test_f46_the_dearer_is_estimated(memory, body, request_):
    guard = memory.guard(ScriptedApp(*completion(0)))
    played = await call(guard, body, **request_)
    assert (played.status, played.headers["x-budget-estimate-usd"]) == (200, "0.40")


@pytest.mark.parametrize("spent", ["gpt-5-pro", "gpt-5-nano"])
async def test_f46_model_in_the_query(memory, spent):
    """The budget of either model is spent: refused, and the other holds nothing."""
    app = ScriptedApp(*completion(0))
    guard = memory.guard(app, limits=f"key=1/month; model:{spent}=0/month; model:*=9/month")
    played = await call(guard, BODY, **asked_for("model=gpt-5-pro"))
    assert (played.status, app.scopes) == (429, [])
    assert await memory.figures() == ("0.00", "0.00")


async def test_f46_both_are_booked(memory):
    app = ScriptedApp(*json_answer({"choices": [], "model": "gpt-5-pro", "usage": usage(300)}))
    guard = memory.guard(app, limits="key=1/month; model:*=9/month")
    assert (await call(guard, BODY, **asked_for("model=gpt-5-pro"))).status == 200
    for account in (KEY, "model:gpt-5-pro", "model:gpt-5-nano"):
        assert await memory.figures(account) == ("0.30", "0.00")


async def test_f46_a_compound_limit_of_either_binds(memory):
    app = ScriptedApp(*completion(0))
    guard = memory.guard(app, limits="key=1/month; key+model:*+gpt-5-pro=0.3/month")
    assert (await call(guard, BODY, **asked_for("model=gpt-5-pro"))).status == 429
    assert (await call(guard, BODY, **asked_for())).status == 200


@pytest.mark.parametrize(
    "request_",
    [asked_for("model=house-model"), asked_for(path="/openai/deployments/house-model/chat/completions")],
    ids=["query", "path"],
)
async def test_f46_one_without_a_price_is_not_free(memory, request_):
    app = ScriptedApp(*completion(0))
    played = await call(memory.guard(app), BODY, **request_)
    assert (played.status, app.scopes) == (400, [])
    assert played.json()["error"]["code"] == "budget_unknown_model"
    assert "'house-model' has no price" in played.json()["error"]["message"]
    # Where no limit binds it is served, and booked at the price that is known.
    served = await call(memory.guard(app, limits=""), BODY, **request_)
    assert (served.status, served.headers["x-budget-estimate-usd"]) == (200, "0.04")


def many_models(count):
    return [f"azure/gpt-5-nano-{number}" for number in range(count)]


async def test_f46_of_many_in_the_query_none_is_left_out(memory):
    """Frameworks take the last of a parameter that is repeated, others the first."""
    query = "&".join(f"model={name}" for name in [*many_models(17), "gpt-5-pro"])
    app = ScriptedApp(*completion(0))
    for mode, statuses in (("enforce", {400}), ("shadow", {200})):
        guard = memory.guard(app, limits="key=1/month; model:gpt-5-pro=0/month", unknown_model="0/100", mode=mode)
        played = await call(guard, BODY, **asked_for(query))
        assert {played.status} == statuses
    assert len(app.scopes) == 1


async def test_f46_names_to_fall_back_to_push_out_none(memory):
    """Where the API has the model in its path, and a gateway takes it from the body."""
    body = {"model": "gpt-5-pro", "models": many_models(17), "contents": []}
    guard = memory.guard(
        ScriptedApp(*completion(0)), limits="key=1/month; model:gpt-5-pro=0/month", unknown_model="0/100"
    )
    path = "/v1beta/models/gpt-5-nano:generateContent"
    assert (await call(guard, body, **asked_for(path=path))).status == 429


async def test_f46_the_query_counts_beside_a_body_that_cannot_be_read(memory):
    guard = memory.guard(ScriptedApp(*completion(0)), limits="key=9/month; model:gpt-5-pro=0/month")
    request_ = asked_for("model=gpt-5-pro", path="/openai/deployments/gpt-5-nano/chat/completions")
    assert (await call(guard, b"{", **request_)).status == 429


async def test_f46_in_the_query_alone_it_is_the_model(memory):
    body = {"max_tokens": 400, "messages": []}
    played = await call(memory.guard(ScriptedApp(*completion(0))), body, **asked_for("model=gpt-5-pro"))
    assert (played.status, played.headers["x-budget-estimate-usd"]) == (200, "0.40")


ONE_NAME = {
    "the same in the query": (BODY, asked_for("model=gpt-5-nano")),
    "another case": (BODY, asked_for("model=GPT-5-nano")),
    "nothing in the query": (BODY, asked_for("model=&models=gpt-5-pro&x-model=gpt-5-pro")),
    "no names to fall back to": ({**BODY, "fallbacks": [{"x": 1}, 7, "nobodys"], "models": "gpt-5-pro"}, asked_for()),
}


@pytest.mark.parametrize(("body", "request_"), ONE_NAME.values(), ids=ONE_NAME)
async def test_one_model_named_twice_is_one(memory, body, request_):
    guard = memory.guard(ScriptedApp(*completion(1)), limits="key=1/month; model:*=9/month")
    played = await call(guard, body, **request_)
    assert (played.status, played.headers["x-budget-estimate-usd"]) == (200, "0.04")
    assert await memory.accounts() == {KEY, "model:gpt-5-nano"}


async def test_geminis_own_name_in_the_body_is_the_one_of_the_path(memory):
    body = {"model": "models/gemini-pro", "contents": [], "generationConfig": {"maxOutputTokens": 400}}
    guard = memory.guard(ScriptedApp(*json_answer(ANSWER)), limits="key=1/month; model:*=9/month")
    await call(guard, body, **asked_for(path="/v1beta/models/gemini-pro:generateContent"))
    assert await memory.accounts() == {KEY, "model:gemini-pro"}


@pytest.mark.parametrize("name", [api.name for api in APIS])
def test_no_query_raises(name):
    api = next(api for api in APIS if api.name == name)
    for query in (b"model", b"model=%ff", b"&&=&model=a&model=b;model=c", b"model=" + b"x" * 100_000, b"\xff"):
        api.read_request({"model": "m"}, path="/deployments//x", query=query, n_bytes=10)
