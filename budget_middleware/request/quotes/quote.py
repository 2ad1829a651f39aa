"""What a request may cost: what answers usually come to, what a fixed rule expects, or the most that it can come to."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from msgspec import Struct, structs

from budget_middleware.apis.protocol.base import Api, Ask
from budget_middleware.core.costs.estimate import (
    LARGEST_CONTEXT_TOKENS,
    EstimateBy,
    GrowthPlan,
    output_ceiling,
    tokens_from_normalizing,
)
from budget_middleware.core.costs.pricing import FEMTOS_PER_NANO, Rates, Usage, UsageClass, estimate_nanos
from budget_middleware.prices import Moment

OTHER_MODEL: Final = "other"
"""How a model is called that has a price and no name in the price book."""


_COMPLETIONS: Final = "openai-chat"
_XAI: Final = "x-ai"
_XAIS_MODELS: Final = "grok"


class OutputEstimate(NamedTuple):
    """The output that is held for all choices, and why: ``by`` is a Basis, `asked`, `fixed` or `worst`.

    ``mean_tokens`` is what is expected, ``answers`` how many answers that was learnt from.
    """

    by: str
    tokens: int
    mean_tokens: int
    answers: int = 0


class Quote(Struct, frozen=True, gc=False):
    """What a request says, and what that may cost in nano-dollars. Without rates it is unpriced, and costs 0."""

    ask: Ask
    rates: Rates | None
    # What is held.
    estimate_nanos: int
    # The same in tokens of input and output together, and what is expected of these.
    tokens: int = 0
    mean_tokens: int = 0
    # Where the request names several models, and this is the dearest: the others, and one that has no price.
    other_models: tuple[str, ...] = ()
    unpriced_model: str = ""
    # When these prices held; now, if it is not told.
    moment: Moment | None = None
    # None for what is unpriced.
    output: OutputEstimate | None = None
    # Of an estimate that was learnt: how its hold may grow, what all but the output was estimated to cost, what the
    # call is expected to cost, and whose answers it was learnt from and adds to (see AnswerGroup).
    growth: GrowthPlan | None = None
    fixed_femtos: int = 0
    expected_femtos: float | None = None
    group: tuple[str, str] | None = None
    # What is kept of a job beside its model, if it becomes one.
    job: Mapping[str, object] | None = None
    # The API and the id of the job, where the request names them and its answer may be empty.
    named_job: tuple[str, str] | None = None
    # So long its hold waits for its usage, where the request itself says how long it lasts.
    job_deadline_s: float | None = None

    @property
    def expected_nanos(self) -> int:
        """What is expected, and booked for an answer that tells nothing of its cost: no margin is in it."""
        if self.expected_femtos is None:
            return self.estimate_nanos
        return min(math.ceil(self.expected_femtos / FEMTOS_PER_NANO) or 1, self.estimate_nanos)

    @property
    def input_nanos(self) -> int:
        """What the input is expected to cost, whatever the estimate is made by."""
        return max((estimate_nanos(tier, self.ask.input) for tier in tiers_of(self.ask, self.rates)), default=0)

    @property
    def model(self) -> str:
        """The price book's canonical name, else the request's; empty if it names none."""
        return (self.rates.model if self.rates else "") or self.ask.model or ""

    @property
    def metric_model(self) -> str:
        """Bounded, as metric attributes must be: names of the price book only."""
        return (self.rates.model if self.rates else "") or OTHER_MODEL


def goes_on_elsewhere(quote: Quote, api: Api) -> bool:
    """Whether a request that asks to be worked on unseen is in flight elsewhere, perhaps for days.

    Of completions only xAI's are, and others take no notice of the field by which a request asks for that.
    """
    is_xais = quote.rates is not None and quote.rates.provider == _XAI
    return api.name != _COMPLETIONS or is_xais or _XAIS_MODELS in quote.model.lower()


def quote_for(
    ask: Ask,
    rates: Rates | None,
    *,
    default_output_tokens: int,
    by: EstimateBy,
    moment: Moment | None = None,
) -> Quote:
    """What a fixed rule says: the maximum that is asked for or the default, or the most that the answer can come to."""
    # A quote lives as long as the answer, and may not keep a whole conversation for so long.
    kept = replace(ask, texts=()) if ask.texts else ask
    usage, may_become = _worst_input(ask, rates) if by is EstimateBy.WORST else (ask.input, ())
    # A bill that may never be seen is booked as it was estimated: at the most that it can come to.
    output_by = EstimateBy.WORST if ask.is_unseen else by
    output_tokens = output_ceiling(
        asked=ask.max_output_tokens,
        default=default_output_tokens if ask.expected_output_tokens is None else ask.expected_output_tokens,
        model_ceiling=rates.output_ceiling if rates is not None else None,
        choices=ask.choices,
        by=output_by,
    )
    tokens = usage.input_tokens + (output_tokens if rates is None or sells_output_tokens(ask, rates) else 0)
    if rates is None:
        return Quote(kept, None, estimate_nanos=0, tokens=tokens, mean_tokens=tokens, moment=moment)
    worst = by is EstimateBy.WORST
    uses = tuple([(tool.unit, tool.at_worst) for tool in ask.tools]) if worst else ask.expected_uses
    nanos = 0
    for tier in tiers_of(ask, rates):
        tier_nanos = estimate_nanos(
            tier,
            usage,
            output_tokens=output_tokens,
            output_unit=ask.output_unit,
            input_may_become=may_become,
            uses=uses,
        )
        nanos = max(nanos, tier_nanos)
    # Only a model that is free stays usable when a budget is spent, however little a request seems to ask for.
    nanos = nanos or (0 if rates.is_free else 1)
    told_by = "worst" if output_by is EstimateBy.WORST else "fixed" if ask.max_output_tokens is None else "asked"
    output = OutputEstimate(told_by, output_tokens, output_tokens)
    return Quote(kept, rates, nanos, tokens=tokens, mean_tokens=tokens, moment=moment, output=output)


def held_at_most_expensive(quote: Quote, others: Sequence[Quote]) -> Quote:
    """The quote of a name that another model may answer to: it holds what the most expensive of them would come to.

    The name stays what is asked for: its limits bind, and its price counts where the answer names nobody.
    """
    most = max(others, key=lambda each: each.estimate_nanos, default=quote)
    if quote.rates is None or most.estimate_nanos <= quote.estimate_nanos:
        return quote
    return structs.replace(
        quote,
        estimate_nanos=most.estimate_nanos,
        tokens=max(quote.tokens, most.tokens),
        mean_tokens=max(quote.mean_tokens, most.mean_tokens),
        output=most.output,
        growth=most.growth,
        expected_femtos=most.expected_femtos,
    )


def sells_output_tokens(ask: Ask, rates: Rates) -> bool:
    """Whether what is asked for comes in tokens: images have none, and speech, where they are sold by the piece."""
    return ask.output_unit is UsageClass.OUTPUT or rates.is_free or not rates.of(ask.output_unit).is_free


def most_expensive(quote: Quote, others: Sequence[Quote], maybe: Sequence[Quote]) -> Quote:
    """The dearest of the quotes for all models that a request names. Those that `maybe` names count with a price."""
    priced = [each for each in maybe if each.rates is not None]
    unpriced = next((each.model for each in others if each.rates is None), "")
    candidates = [quote, *others, *priced]
    # What is served without a price all the same is booked at one that is known.
    best = max(candidates, key=lambda each: (each.rates is not None, each.estimate_nanos))
    if quote.rates is None:
        unpriced = unpriced or quote.model or "(none named)"
    models = dict.fromkeys(each.model for each in candidates if each.model and each.model != best.model)
    return structs.replace(
        best,
        tokens=max(each.tokens for each in candidates),
        mean_tokens=max(each.mean_tokens for each in candidates),
        other_models=tuple(models),
        unpriced_model=unpriced,
    )


def tiers_of(ask: Ask, rates: Rates | None) -> Sequence[Rates]:
    """A cheaper service tier is believed when the answer confirms it, a dearer one at once.

    Other modes, such as a size, are as they were asked for.
    """
    if rates is None:
        return ()
    if ask.service_tier is None and not ask.modes:
        return (rates,)
    standard = rates.in_modes(ask.modes) if ask.modes else rates
    tier = rates.in_modes((ask.service_tier, *ask.modes))
    return (standard,) if tier is standard else (standard, tier)


def _worst_input(ask: Ask, rates: Rates | None) -> tuple[Usage, tuple[UsageClass, ...]]:
    """The most input that there can be, and what each token of it may be billed as."""
    tokens = ask.worst_input.input_tokens + tokens_from_normalizing(ask.texts)
    may_become = [UsageClass.INPUT, UsageClass.CACHE_WRITE]
    if ask.caches_for_an_hour:
        may_become.append(UsageClass.CACHE_WRITE_1H)
    if ask.hides_input:
        tokens = max(tokens, (rates.context_window if rates is not None else None) or LARGEST_CONTEXT_TOKENS)
        # Nobody knows what it is.
        may_become += [UsageClass.INPUT_AUDIO, UsageClass.INPUT_IMAGE, UsageClass.INPUT_VIDEO]
    return replace(ask.worst_input, input_tokens=tokens), tuple(may_become)
