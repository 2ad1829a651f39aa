"""Quotes by what was learnt from answers, and by a fixed rule where nothing can be."""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import Final

from budget_middleware.apis.protocol.base import Ask
from budget_middleware.core.costs.estimate import LARGEST_CONTEXT_TOKENS, EstimateBy, GrowthPlan
from budget_middleware.core.costs.learning import Basis, Expectation, input_to_hold, tokens_to_hold
from budget_middleware.core.costs.pricing import CostByOutput, Rates, UsageClass, cost_by_output, cost_of
from budget_middleware.core.fast import maker_of
from budget_middleware.core.payers.accounts import encode_subject
from budget_middleware.ledger import AnsweringModels, Learner
from budget_middleware.prices import Moment, PriceBook
from budget_middleware.request.quotes.quote import (
    OTHER_MODEL,
    OutputEstimate,
    Quote,
    held_at_most_expensive,
    most_expensive,
    quote_for,
    tiers_of,
)
from budget_middleware.request.quotes.shown_model import SHOWN_CHARS, short

LARGEST_THINKING_PRIOR: Final = 4_096
"""A budget for thoughts is a maximum, and mostly far from used up."""

# Inputs whose estimates are off by more than this are bounded by what the model can take.
_USUAL_RATIO: Final = 2
# Python 3.11 takes ten times as long to find the member of an enum as a global.
_OUTPUT: Final = UsageClass.OUTPUT
_BY_PRIOR: Final = Basis.PRIOR
_NO_COST: Final = CostByOutput(0, 0)
_output = maker_of(OutputEstimate)
# The price book's names are short, and those in use are few.
subject_of_model = lru_cache(1_024)(encode_subject)
"""The subject of a model by its name in the price book."""


class Quoting:
    """Makes the quotes of a middleware, by its settings and by what was learnt from answers."""

    def __init__(
        self,
        prices: PriceBook,
        learner: Learner,
        *,
        by: EstimateBy,
        spreads: float,
        default_output_tokens: int,
        answering: AnsweringModels | None = None,
    ) -> None:
        self._prices = prices
        self._learner = learner
        self._answering = answering
        self._by = by
        self._is_learned = by is EstimateBy.LEARNED
        self._spreads = spreads
        self._default_output_tokens = default_output_tokens

    def quote(self, ask: Ask, *, account: str) -> Quote:
        """What a request may cost now: of several models that it names, the dearest.

        ``account`` is the one whose answers this request's is expected to be like; "" if nobody's in particular.
        """
        moment, model = self._prices.moment, ask.model or ""
        may_be_others = self._prices.lists_targets or (self._answering is not None and self._answering.by_name)
        if not (may_be_others or ask.other_models or ask.maybe_models):
            # As most: of one model, for which nobody else is known to answer.
            rates = self._prices.resolve(model, provider=ask.provider, moment=moment)
            return self._quote_at(rates, ask, account, moment)
        quote = self._quote(ask, account, moment)
        if not ask.other_models and not ask.maybe_models:
            return quote
        others, maybe = (
            [self._quote(replace(ask, model=model), account, moment) for model in models]
            for models in (ask.other_models, ask.maybe_models)
        )
        return most_expensive(quote, others, maybe)

    def _quote(self, ask: Ask, account: str, moment: Moment) -> Quote:
        model = ask.model or ""
        quote = self._quote_at(self._prices.resolve(model, provider=ask.provider, moment=moment), ask, account, moment)
        others = self._rates_of_others(ask, model, account, moment)
        return held_at_most_expensive(quote, [self._quote_at(rates, ask, account, moment) for rates in others])

    def _rates_of_others(self, ask: Ask, model: str, account: str, moment: Moment) -> Sequence[Rates]:
        """What the models cost that may answer to a name: by the operator's list, and by who has answered to it."""
        targets = self._prices.targets_of(model)
        known = self._answering.of(model, account=account) if self._answering is not None else ()
        if not targets and not known:
            return ()
        found = [self._prices.resolve(target, provider=ask.provider, moment=moment) for target in targets]
        if known:
            resolve = partial(self._prices.resolve_answer, asked=model, provider=ask.provider, moment=moment)
            for answered in known:
                # Where the operator has set what the name costs, only what a gateway called a fallback was remembered.
                found += resolve(answered, is_only_name=True) or resolve(answered, is_only_name=False)
        return [rates for rates in found if rates is not None]

    def _quote_at(self, rates: Rates | None, ask: Ask, account: str, moment: Moment) -> Quote:
        if rates is None or not self._is_learned or not _can_be_learned(ask, rates):
            return quote_for(ask, rates, default_output_tokens=self._default_output_tokens, by=self._by, moment=moment)
        group = subject_of_model(rates.model or OTHER_MODEL), account
        prior_tokens = rates.expected_output_tokens or self._default_output_tokens
        expected = self._learner.expectation(group, prior_tokens=prior_tokens)
        if expected.basis is _BY_PRIOR and ask.thinking_tokens:
            prior_tokens = min(ask.thinking_tokens, LARGEST_THINKING_PRIOR)
            expected = self._learner.expectation(group, prior_tokens=prior_tokens)
        return learned_quote(ask, rates, expected, spreads=self._spreads, group=group, moment=moment)


def _can_be_learned(ask: Ask, rates: Rates) -> bool:
    """Not where an API has a rule of its own, nor where no output is asked for, nor where a bill may never be seen."""
    # Whatever may be drawn or spoken, a model that has one price for all output writes.
    is_seen = ask.counts_sound or rates.of(ask.output_unit) is rates.of(_OUTPUT)
    return is_seen and ask.expected_output_tokens is None and not ask.is_unseen and ask.max_output_tokens != 0


def subject_asked(quote: Quote) -> str:
    """The subject of a model that the price book does not know; empty if the request names none."""
    return encode_subject(quote.ask.model) if quote.ask.model else ""


def unknown_model_message(quote: Quote, *, why_unread: str) -> str:
    """Why a request has no price; ``why_unread``: why its body could not be read, if it could not."""
    ask = quote.ask
    if quote.unpriced_model:
        return f"The request names several models, and {short(quote.unpriced_model)!r} has no price here."
    if why_unread and ask.model is None:
        return why_unread
    if ask.model is None:
        return "The request names no model that can be read, so it has no price."
    return f"The model {ask.model[:SHOWN_CHARS]!r} has no price here; budgets cannot be kept without one."


def learned_quote(
    ask: Ask,
    rates: Rates,
    expected: Expectation,
    *,
    spreads: float,
    group: tuple[str, str],
    moment: Moment | None = None,
) -> Quote:
    """What answers usually come to and so many spreads more, never more than the answer can come to."""
    ceiling, asked = rates.output_ceiling, ask.max_output_tokens
    at_most = LARGEST_CONTEXT_TOKENS if ceiling is None else ceiling
    if asked is not None and asked < at_most:
        at_most = asked
    # The choices of one request are alike: their spreads add up.
    held_tokens = tokens_to_hold(expected, spreads=spreads, at_most=at_most) * ask.choices
    mean_tokens = min(math.ceil(expected.mean_tokens), at_most) * ask.choices
    spread_tokens = expected.spread_tokens * ask.choices
    uses = ask.expected_uses if ask.tools else ()
    cost, held, held_nanos = _NO_COST, _NO_COST, -1
    for tier in tiers_of(ask, rates) if ask.service_tier or ask.modes else (rates,):
        tier_cost = cost_by_output(tier, ask.input, output_unit=ask.output_unit, uses=uses)
        fixed, per_token = tier_cost
        fixed_held = input_to_hold(expected, fixed, spreads=spreads, output_spread=per_token * spread_tokens)
        if fixed_held > _USUAL_RATIO * fixed:
            fixed_held = min(fixed_held, _most_input(fixed, tier))
        tier_held = cost_of((fixed_held, per_token))
        if (nanos := tier_held.nanos(held_tokens)) > held_nanos:
            cost, held, held_nanos = tier_cost, tier_held, nanos
    most_tokens = at_most * ask.choices
    held_input, mean_input = _input_tokens(ask, expected, cost, held)
    is_all = held_tokens == most_tokens and asked is not None
    return Quote(
        replace(ask, texts=()) if ask.texts else ask,
        rates,
        # Only a model that is free stays usable when a budget is spent, however little a request seems to ask for.
        held_nanos or (0 if rates.is_free else 1),
        tokens=held_input + held_tokens,
        mean_tokens=mean_input + mean_tokens,
        moment=moment,
        output=_output((("asked" if is_all else expected.basis), held_tokens, mean_tokens, expected.answers)),
        growth=GrowthPlan(held_tokens, most_tokens, held.nanos, expected.tokens_per_s * ask.choices, held_input),
        fixed_femtos=cost.fixed_femtos,
        expected_femtos=cost.fixed_femtos * expected.input_ratio + mean_tokens * cost.femtos_per_token,
        group=group,
    )


def _input_tokens(ask: Ask, expected: Expectation, cost: CostByOutput, held: CostByOutput) -> tuple[int, int]:
    """What is held and what is expected of the input in tokens: as much more than was counted as of its cost."""
    tokens = ask.input.input_tokens
    held_tokens = -(-tokens * held.fixed_femtos // cost.fixed_femtos) if cost.fixed_femtos else tokens
    return held_tokens, min(math.ceil(tokens * expected.input_ratio), held_tokens)


def _most_input(fixed_femtos: int, rates: Rates) -> int:
    """What an input can cost that is estimated at so much: the whole context of the model, or twice as much."""
    tokens = rates.context_window or LARGEST_CONTEXT_TOKENS
    return max(_USUAL_RATIO * fixed_femtos, fixed_femtos + tokens * rates.of(UsageClass.INPUT).at(tokens))
