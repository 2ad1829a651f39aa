"""Estimates that learn, end to end: what is held, what is learnt from, what is booked where nothing is told."""

import pytest

from budget_middleware import BudgetMiddleware
from budget_middleware.core.costs.learning import NO_ANSWERS, AnswerGroup, Basis, Expectation, answer_seen
from budget_middleware.operations.context import OperatorContext
from budget_middleware.operations.estimates import estimate_for
from budget_middleware.settings_loading import load
from budget_middleware.stores.errors import StoreUnavailable
from budget_middleware.testing import MovableClock, ScriptedApp, call, event, event_stream, json_answer
from tests.request.bench import Bench
from tests.request.wire import (
    KEY,
    OTHER_KEY,
    OTHER_TOKEN,
    STREAM_START,
    TALK,
    ask,
    bearer,
    completion,
    delta,
    usage,
    usage_event,
    words,
)

LEARNED = {"estimate": "learned", "limits": "key=1000/month"}


def learned_guard(bench: Bench, app: ScriptedApp, **settings) -> BudgetMiddleware:
    return bench.guard(app, **{**LEARNED, **settings})


async def estimate_of(guard: BudgetMiddleware, request=None, token="sk-one") -> float:
    """What a request held, in tokens of `plain`."""
    played = await call(guard, request or ask(None), headers=bearer(token))
    assert played.status == 200
    return float(played.headers["x-budget-estimate-usd"]) * 1_000


async def answer(guard: BudgetMiddleware, app: ScriptedApp, tokens: int, times: int = 3) -> None:
    app.script = completion(tokens)
    for _ in range(times):
        await call(guard, ask(None), headers=bearer())


def teach(guard: BudgetMiddleware, tokens: int, times: int, account: str = KEY) -> None:
    """As so many answers would."""
    seen = answer_seen(tokens=tokens, seconds=1, estimated=0, billed=0)
    assert seen is not None
    for _ in range(times):
        guard.ledger.learner.add(AnswerGroup("plain", account), seen)


def expected(guard: BudgetMiddleware, account: str = KEY, model: str = "plain") -> Expectation:
    return guard.ledger.learner.expectation(AnswerGroup(model, account), prior_tokens=1_024)


async def test_a_key_holds_what_its_answers_usually_come_to(bench: Bench):
    app = ScriptedApp(*completion(100))
    guard = learned_guard(bench, app)
    assert await estimate_of(guard) == 3 * 1_024
    await answer(guard, app, 100, 20)
    assert expected(guard).basis is Basis.KEY
    assert 100 < await estimate_of(guard) < 3 * 1_024 / 2
    teach(guard, 100, 200)
    # A prior that was ten times too high is nearly forgotten.
    assert 100 < await estimate_of(guard) < 300
    assert await bench.figures() == ("2.30", "0.00")


async def test_a_request_never_holds_more_than_the_maximum_it_names(bench: Bench):
    app = ScriptedApp(*completion(100))
    guard = learned_guard(bench, app)
    assert await estimate_of(guard, ask(256)) == 256
    teach(guard, 100, 200)
    assert await estimate_of(guard, ask(50)) == 50


@pytest.mark.parametrize(("model", "is_learned"), [("gemini-2.5-flash", True), ("gemini-2.5-flash-image", False)])
async def test_of_gemini_only_models_that_draw_are_not_learnt(memory: Bench, model: str, *, is_learned: bool):
    """One that draws has another price for what it draws, and nothing tells beforehand which of the two comes."""
    guard = learned_guard(memory, ScriptedApp(*json_answer({"usageMetadata": {"promptTokenCount": 1}})))
    await call(guard, {"contents": []}, path=f"/v1beta/models/{model}:generateContent", headers=bearer())
    assert {group[0] for group in guard.ledger.learner._groups} == ({model} if is_learned else set())


async def test_another_key_begins_as_its_model_is(memory: Bench):
    guard = learned_guard(memory, ScriptedApp(*completion(100)))
    teach(guard, 100, 200)
    assert expected(guard, OTHER_KEY).basis is Basis.MODEL
    assert await estimate_of(guard, token=OTHER_TOKEN) < 3 * 1_024 / 2


async def test_what_one_worker_learnt_another_holds_a_beat_later(bench: Bench):
    app = ScriptedApp(*completion(100))
    one, other = learned_guard(bench, app), learned_guard(bench, app)
    await answer(one, app, 100)
    teach(one, 100, 200)
    assert await estimate_of(other) == 3 * 1_024
    await one.ledger._serve_loop()
    await other.ledger._serve_loop()
    assert await estimate_of(other) < 300


# What is learnt from.

USAGE = usage(100, 50)
WORDS = [*words(3)]
NOT_LEARNT = {
    "an error": json_answer({"usage": USAGE, "error": {"message": "no"}}, status=400),
    "a failure after 200": json_answer({"error": {"message": "no"}}),
    "no usage": json_answer({"choices": [{"message": {"content": "hello"}}]}),
    "no output": json_answer({"choices": [{"message": {"content": ""}}], "usage": usage(0, 50)}),
    "broken before the end": (STREAM_START, *WORDS, RuntimeError("upstream")),
    "broken after a usage": (STREAM_START, *WORDS, event(usage_event(100, 50)), RuntimeError("upstream")),
    "a stream without usage": event_stream(*[{"choices": [{"delta": {"content": "word"}}]}] * 3, "[DONE]"),
    "a contradiction": json_answer({"choices": [{"message": {"content": "hello"}}], "usage": usage(100)}),
    "an answer from a cache": json_answer(
        {"choices": [{"message": {"content": "hello"}}], "usage": USAGE}, x_litellm_cache_key="a"
    ),
}


@pytest.mark.parametrize("case", NOT_LEARNT)
async def test_what_tells_no_usual_answer_is_not_learnt_from(memory: Bench, case):
    guard = learned_guard(memory, ScriptedApp(*NOT_LEARNT[case]))
    await call(guard, {**TALK, "stream": False}, headers=bearer())
    assert expected(guard, model="talk").answers == 0
    assert guard.ledger.learner._groups[AnswerGroup("talk")].sums == NO_ANSWERS


async def test_an_answer_whose_client_left_is_learnt_from_only_if_it_was_whole(memory: Bench):
    app = ScriptedApp(STREAM_START, *WORDS, RuntimeError("gone"))
    guard = learned_guard(memory, app)
    await call(guard, TALK, headers=bearer(), leaves_after=2)
    assert expected(guard, model="talk").answers == 0


@pytest.mark.parametrize("model", ["nobody's", "gift"])
async def test_an_unpriced_model_teaches_nothing_and_a_free_one_holds_nothing(memory: Bench, model):
    app = ScriptedApp(*completion(100))
    guard = learned_guard(memory, app, limits="")
    played = await call(guard, ask(None, model=model), headers=bearer())
    assert float(played.headers["x-budget-estimate-usd"]) == 0
    assert expected(guard, model=model).answers == (0 if model == "nobody's" else 1)


@pytest.mark.parametrize(("answered", "learnt"), [("talk", 1), ("plain", 0), (None, 0)])
async def test_a_dear_model_that_was_only_named_is_not_learnt_of(memory: Bench, answered, learnt):
    """Else a cheap model's answers would teach everybody what the dear one comes to."""
    app = ScriptedApp(*completion(100, usage=USAGE, **({"model": answered} if answered else {})))
    guard = learned_guard(memory, app)
    assert (await call(guard, ask(None, models=["talk"]), headers=bearer())).status == 200
    assert expected(guard, "", model="talk").answers == learnt
    assert expected(guard, "").answers == 0


async def test_an_answer_of_another_model_at_another_price_is_not_learnt_from(memory: Bench):
    guard = learned_guard(memory, ScriptedApp(*completion(100, usage=USAGE, model="gpt-4o-mini")))
    await call(guard, ask(None, model="gpt-4"), headers=bearer())
    assert expected(guard, "", model="gpt-4").answers == 0


async def test_an_answer_that_names_the_models_version_is_learnt_from(memory: Bench):
    guard = learned_guard(memory, ScriptedApp(*completion(100, usage=USAGE, model="gpt-4o-2024-11-20")))
    await call(guard, ask(None, model="gpt-4o"), headers=bearer())
    assert expected(guard, "", model="gpt-4o").answers == 1


async def test_a_stream_is_learnt_from_and_each_choice_is_an_answer(memory: Bench):
    app = ScriptedApp(*event_stream(delta(), usage_event(300, 50), "[DONE]"))
    guard = learned_guard(memory, app)
    await call(guard, {**TALK, "max_tokens": None, "n": 3}, headers=bearer())
    # One answer of a hundred tokens for each choice, and about five imagined ones.
    assert expected(guard, "", model="talk").mean_tokens == pytest.approx((100 + 5 * 1_024) / 6, rel=1e-3)


async def test_inputs_that_cost_more_than_estimated_are_held_at_more(memory: Bench):
    """Of the 50 input tokens that are estimated the usage tells 100."""
    app = ScriptedApp(*event_stream({"choices": []}, usage_event(1, 100), "[DONE]"))
    guard = learned_guard(memory, app)
    for _ in range(20):
        await call(guard, {**TALK, "max_tokens": 1}, headers=bearer())
    # Five imagined answers, which are billed as estimated, count against twenty, and these count again for five.
    assert expected(guard, model="talk").input_ratio == pytest.approx((40 + 5 * 45 / 25) / 25, rel=0.01)
    played = await call(guard, {**TALK, "max_tokens": 1}, headers=bearer())
    assert 0.09 < float(played.headers["x-budget-estimate-usd"]) < 0.14


async def test_a_gateways_own_cost_is_no_input_ratio(memory: Bench):
    document = {"choices": [{"message": {"content": "hello"}}], "usage": usage(100, 50)}
    app = ScriptedApp(*json_answer(document, x_litellm_response_cost="7"))
    guard = learned_guard(memory, app)
    for _ in range(20):
        await call(guard, {**TALK, "stream": False}, headers=bearer())
    assert expected(guard, model="talk").answers > 0
    assert expected(guard, model="talk").input_ratio == pytest.approx(1)
    assert await memory.figures() == ("140.00", "0.00")


# Bad input.


async def test_usage_that_lies_by_a_thousand_times_is_booked_as_ever_and_wears_off(memory: Bench):
    app = ScriptedApp()
    guard = learned_guard(memory, app)
    teach(guard, 100, 100)
    await answer(guard, app, 100_000, 1)
    assert await memory.figures() == ("100.00", "0.00")
    teach(guard, 100, 10)
    lied_to = expected(guard)
    teach(guard, 100, 1_000)
    assert expected(guard).spread_tokens < 0.75 * lied_to.spread_tokens


@pytest.mark.parametrize("tokens", [1, 900])
async def test_a_flood_moves_nobody_who_has_answers_of_their_own(memory: Bench, tokens):
    guard = learned_guard(memory, ScriptedApp())
    teach(guard, 300, 100)
    before = expected(guard)
    teach(guard, tokens, 1_000, OTHER_KEY)
    teach(guard, 300, 10)
    assert expected(guard).mean_tokens == pytest.approx(before.mean_tokens, rel=0.15)


async def test_maximal_answers_hold_no_more_than_the_model_writes(memory: Bench):
    app = ScriptedApp(*completion(10_000))
    guard = learned_guard(memory, app, limits="key=1000000/month")
    for _ in range(30):
        await call(guard, ask(None, model="short"), headers=bearer())
    assert await estimate_of(guard, ask(None, model="short")) == 900
    assert expected(guard, model="short").mean_tokens <= 1_024


@pytest.mark.parametrize("prior", [1, 10_000_000])
async def test_a_prior_that_is_far_off_is_forgotten(memory: Bench, prior):
    guard = learned_guard(memory, ScriptedApp(), default_output_tokens=str(prior))
    teach(guard, 300, 20_000)
    learned = guard.ledger.learner.expectation(AnswerGroup("plain", KEY), prior_tokens=prior)
    assert learned.basis is Basis.KEY
    assert learned.mean_tokens == pytest.approx(300, rel=0.02)


async def test_a_store_that_cannot_learn_fails_no_request(memory: Bench):
    async def away():
        raise StoreUnavailable("away")

    guard = learned_guard(memory, ScriptedApp(*completion(100)))
    memory.store_of(guard).before["learn"] = away
    teach(guard, 100, 200)
    await guard.ledger._serve_loop()
    assert "learn" in memory.store_of(guard).calls
    assert await estimate_of(guard) < 300


# What is booked where nothing is told.


async def test_an_answer_that_tells_nothing_is_booked_at_what_is_expected(memory: Bench):
    guard = learned_guard(memory, ScriptedApp(*json_answer({"surprise": "!"})))
    teach(guard, 100, 200)
    held, mean = await estimate_of(guard), expected(guard).mean_tokens
    spent = float((await memory.figures())[0])
    assert held > 1.5 * mean
    assert spent * 1_000 == pytest.approx(mean, abs=1)


async def test_a_lease_that_runs_out_books_what_is_expected(memory: Bench, clock: MovableClock):
    app = ScriptedApp(*completion(100))
    guard = learned_guard(memory, app, on_expire="estimate")
    seen = []

    async def look(_receive, _send):
        clock.advance(s=61)
        await guard.ledger.sweep()
        (counter,) = await memory.reader.counters(KEY)
        seen.append((counter.balance.spent, counter.balance.reserved))

    app.script = [look, *completion(100)]
    assert await estimate_of(guard) == 3 * 1_024
    # The prior's mean, at a tenth of a cent a token; the true cost takes its place.
    assert seen == [(1_024_000_000, 0)]
    assert await memory.figures() == ("0.10", "0.00")


# What an operator is told of it.


async def test_an_operator_is_told_what_the_next_request_holds(bench: Bench, prices: str):
    guard = learned_guard(bench, ScriptedApp(*completion(100)))
    teach(guard, 100, 200)
    await guard.ledger.learner.share()
    settings = load(**LEARNED, prices=prices)
    row = await estimate_for(OperatorContext(settings, bench.reader, guard.ledger), "plain", KEY)
    assert row is not None
    assert float(row.held) * 1_000 == await estimate_of(guard)
    assert (row.by, row.why.partition(", ")[2]) == ("key", "learnt from 187 answers of this account")


# To the last cent.


async def test_a_budget_of_ten_calls_serves_ten(bench: Bench):
    """Each holds more than it costs, and the last one what is left."""
    settings = {"limits": "key=1.01/month", "default_output_tokens": "100", "last_cent": "on"}
    guard = learned_guard(bench, ScriptedApp(*completion(100)), **settings)
    teach(guard, 100, 10)
    held = [await estimate_of(guard) for _ in range(10)]
    assert min(held[:9]) > 120
    assert held[9] == 110
    assert await bench.figures() == ("1.00", "0.00")
    refused = await call(guard, ask(None), headers=bearer())
    assert refused.status == 429
    assert await bench.figures() == ("1.00", "0.00")


async def test_without_the_setting_the_last_of_a_budget_stays(memory: Bench):
    settings = {"limits": "key=1.01/month", "default_output_tokens": "100"}
    guard = learned_guard(memory, ScriptedApp(*completion(100)), **settings)
    teach(guard, 100, 10)
    for _ in range(9):
        await estimate_of(guard)
    refused = await call(guard, ask(None), headers=bearer())
    assert refused.status == 429
    assert await memory.figures() == ("0.90", "0.00")
