"""What a request would hold now, and the answers from which that was learnt."""

import math
from dataclasses import dataclass

from budget_middleware.apis.protocol.base import Ask
from budget_middleware.core.costs.estimate import EstimateBy
from budget_middleware.core.costs.learning import BORROWED_ANSWERS, NO_ANSWERS, AnswerGroup, Basis, Expectation, expect
from budget_middleware.core.costs.pricing import Rates, Usage
from budget_middleware.core.payers.accounts import encode_subject
from budget_middleware.operations.context import OperatorContext
from budget_middleware.operations.values import Figure, figure
from budget_middleware.request.quotes.quote import OTHER_MODEL, OutputEstimate, Quote, quote_for
from budget_middleware.request.quotes.quoting import learned_quote
from budget_middleware.settings import Settings


@dataclass(frozen=True, slots=True)
class EstimateRow:
    """What a request for a model would hold, and what its answers come to: the mean of their output tokens, how far
    they spread around it, how fast they are written, and what inputs cost, as a multiple of what they are estimated to.

    ``by`` is whose answers that is learnt from (key, model; prior: nobody's yet), or another rule; ``why`` says it as
    the journal does.
    """

    model: str
    account: str | None
    by: str
    answers: int
    mean_tokens: int
    spread_tokens: int
    tokens_per_s: float
    input_ratio: float
    input_ratio_spread: float
    output_tokens: int
    expected: Figure
    held: Figure
    why: str


async def estimate_for(
    context: OperatorContext,
    model: str,
    account: str | None = None,
    *,
    input_tokens: int = 0,
    max_output_tokens: int | None = None,
) -> EstimateRow | None:
    """What such a request would hold, None for a model without a price. SettingsError as for a gateway that starts."""
    settings = context.settings
    rates = context.prices.resolve(model)
    if rates is None:
        return None
    usage = Usage(input_tokens=input_tokens)
    ask = Ask(model=model, input=usage, worst_input=usage, max_output_tokens=max_output_tokens)
    group = AnswerGroup(encode_subject(rates.model or OTHER_MODEL), account or "")
    expected = await _expectation(context, group, rates)
    quote = _quote(ask, rates, expected, group, settings)
    assert quote.output is not None, "it has a price"
    return EstimateRow(
        model=rates.model or model,
        account=account,
        by=quote.output.by,
        answers=expected.answers,
        mean_tokens=round(expected.mean_tokens),
        spread_tokens=round(expected.spread_tokens),
        tokens_per_s=round(expected.tokens_per_s, 1),
        input_ratio=round(expected.input_ratio, 3),
        input_ratio_spread=round(expected.input_ratio_spread, 3),
        output_tokens=quote.output.tokens,
        expected=figure(quote.expected_nanos),
        held=figure(quote.estimate_nanos),
        why=_why(quote.output, expected, spreads=settings.estimate_spread),
    )


async def _expectation(context: OperatorContext, group: AnswerGroup, rates: Rates) -> Expectation:
    """What a gateway that has shared its last answers expects."""
    model = AnswerGroup(group.model)
    known = await context.store.learn({model: NO_ANSWERS, group: NO_ANSWERS})
    own = known.get(group, NO_ANSWERS) if group.account else NO_ANSWERS
    prior_tokens = rates.expected_output_tokens or context.settings.default_output_tokens
    return expect(own, known.get(model, NO_ANSWERS), prior_tokens=prior_tokens)


def _quote(ask: Ask, rates: Rates, expected: Expectation, group: AnswerGroup, settings: Settings) -> Quote:
    if settings.estimate is EstimateBy.LEARNED:
        return learned_quote(ask, rates, expected, spreads=settings.estimate_spread, group=group)
    return quote_for(ask, rates, default_output_tokens=settings.default_output_tokens, by=settings.estimate)


_WHY = {
    "asked": "the maximum that the request names",
    "fixed": "BUDGET_DEFAULT_OUTPUT_TOKENS, whatever was learnt",
    "worst": "the most that the answer can come to, whatever was learnt",
}
"""Why so much output is held where it is not by what was learnt."""


def _why(output: OutputEstimate, expected: Expectation, *, spreads: float) -> str:
    if output.by in _WHY:
        return _WHY[output.by]
    margin = f"{expected.mean_tokens:,.0f} + {spreads:g} x {expected.spread_tokens:,.0f} tokens"
    if math.ceil(expected.mean_tokens + spreads * expected.spread_tokens) > output.tokens:
        margin += ", at most what the model can answer"
    match expected.basis:
        case Basis.KEY:
            return f"{margin}, learnt from {expected.answers:,} answers of this account"
        case Basis.MODEL:
            return f"{margin}, learnt from {expected.answers:,} answers of the model"
        case Basis.PRIOR:
            return f"{margin}, a prior: fewer than {BORROWED_ANSWERS} answers of the model are known"
