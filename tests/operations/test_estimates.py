"""What an operator is told of learned estimates: over each store, as gateways have learnt."""

import pytest

from budget_middleware.core.costs.learning import NO_ANSWERS, AnswerGroup, answer_seen, sums_of
from budget_middleware.operations.estimates import EstimateRow, estimate_for
from budget_middleware.operations.values import as_json
from budget_middleware.stores.base import Store

MODEL = "gpt-4o"  # 2.5 USD a million tokens of input, 10 of output.
KEY = "key:1f3a9c0b2d4e5f60"
LEARNED = {"estimate": "learned"}


async def teach(store: Store, *tokens: int, account: str = "", model: str = MODEL) -> None:
    """As gateways do after such answers, whose input cost half of what it was estimated to."""
    seen = [answer_seen(tokens=each, seconds=each / 40, estimated=1_000, billed=500) for each in tokens]
    await store.learn({AnswerGroup(model, account): sums_of([each for each in seen if each])})


async def estimate(open_context, *asked, **settings) -> EstimateRow:
    row = await estimate_for(open_context(**{**LEARNED, **settings}), *asked)
    assert row is not None
    return row


async def test_of_a_model_that_nobody_has_asked_the_prior_is_told(open_context):
    row = await estimate(open_context, MODEL, KEY)
    assert (row.by, row.answers, row.mean_tokens, row.spread_tokens) == ("prior", 0, 1_024, 1_024)
    assert (row.output_tokens, row.held, row.expected) == (3_072, "0.03072", "0.01024")
    assert row.why == "1,024 + 2 x 1,024 tokens, a prior: fewer than 5 answers of the model are known"


async def test_what_a_key_has_learnt_is_told(open_context, context):
    await teach(context.store, *[100, 300] * 500, account=KEY)
    await teach(context.store, *[100, 300] * 500)
    row = await estimate(open_context, MODEL, KEY)
    assert (row.model, row.account, row.by, row.answers) == (MODEL, KEY, "key", 1_000)
    assert row.mean_tokens == pytest.approx(200, abs=10)
    assert row.spread_tokens == pytest.approx(100, abs=20)
    assert row.tokens_per_s == pytest.approx(40, abs=1)
    assert row.input_ratio == pytest.approx(0.5, abs=0.01)
    assert row.why.endswith(" tokens, learnt from 1,000 answers of this account")


async def test_without_an_account_the_models_answers_are_told(open_context, context):
    await teach(context.store, *[100, 300] * 500)
    row = await estimate(open_context, MODEL)
    assert (row.account, row.by, row.answers) == (None, "model", 1_000)
    assert row.why.endswith(" tokens, learnt from 1,000 answers of the model")
    assert (await estimate(open_context, MODEL, KEY)).by == "model"


async def test_asking_teaches_nothing(open_context, context):
    await estimate(open_context, MODEL, KEY)
    assert await context.store.learn({AnswerGroup(MODEL): NO_ANSWERS, AnswerGroup(MODEL, KEY): NO_ANSWERS}) == {}


async def test_input_and_a_maximum_change_what_is_held(open_context):
    context = open_context(**LEARNED)
    bare, with_input = [await estimate_for(context, MODEL, input_tokens=each) for each in (0, 1_000)]
    assert bare is not None
    assert with_input is not None
    assert (bare.held, with_input.held) == ("0.03072", "0.03322")
    bounded = await estimate_for(context, MODEL, max_output_tokens=256)
    assert bounded is not None
    assert (bounded.by, bounded.output_tokens, bounded.held) == ("asked", 256, "0.00256")
    assert bounded.why == "the maximum that the request names"


async def test_what_a_model_can_answer_at_most_bounds_it(open_context):
    row = await estimate(open_context, MODEL, default_output_tokens="100000")
    assert row.output_tokens == 128_000
    assert ", at most what the model can answer, a prior" in row.why


@pytest.mark.parametrize(("rule", "tokens"), [("expected", 1_024), ("worst", 128_000)])
async def test_another_rule_holds_what_it_says_whatever_was_learnt(open_context, context, rule, tokens):
    await teach(context.store, *[100] * 1_000)
    row = await estimate(open_context, MODEL, estimate=rule)
    assert row.output_tokens == tokens
    assert row.mean_tokens == pytest.approx(100, abs=10)
    assert row.why.endswith("whatever was learnt")


async def test_a_model_without_a_price_has_no_estimate(open_context):
    assert await estimate_for(open_context(**LEARNED), "no-such-model") is None


async def test_its_json_names_the_unit_of_amounts(open_context):
    row = as_json(await estimate(open_context, MODEL))
    assert list(row) == [
        "model",
        "account",
        "by",
        "answers",
        "mean_tokens",
        "spread_tokens",
        "tokens_per_s",
        "input_ratio",
        "input_ratio_spread",
        "output_tokens",
        "expected_usd",
        "held_usd",
        "why",
    ]
