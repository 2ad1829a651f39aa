"""BUDGET_CLAMP: a request asks for no more output than what is left of the tightest limit, of money or tokens, allows.

What is left is that of the instant of the admission: others' holds are taken off, this request's own is not. So one
answer cannot pass a limit, whatever it hides; several in flight, each with what was left for it, together can.
"""

from budget_middleware.core.costs.pricing import FEMTOS_PER_NANO, Rates, cost_by_output
from budget_middleware.core.units import Unit
from budget_middleware.request.admission import Admitted
from budget_middleware.request.quotes.quote import Quote, tiers_of


def affordable_tokens(admitted: Admitted) -> int | None:
    """The most output tokens of each choice that what is left pays for, beside the input as it is estimated.

    None where nothing is to be clamped: nothing limits the request, its output costs nothing, it is for no output, its
    model cannot write so much, or the store is away, so that nobody knows what is left.
    """
    quote, own = admitted.quote, admitted.hold.asked
    targets = admitted.hold.targets
    if quote.rates is None or quote.ask.max_output_tokens == 0 or len(admitted.balances) != len(targets):
        return None
    left: dict[Unit, int] = {}
    for target, balance in zip(targets, admitted.balances, strict=True):
        limit = target.limit_at_most
        if limit is not None:
            of_target = limit - balance.spent - balance.reserved + own.of(target.unit)
            left[target.unit] = min(of_target, left.get(target.unit, of_target))
    found = [_output_tokens(tier, quote, left.get(Unit.USD)) for tier in tiers_of(quote.ask, quote.rates)]
    if Unit.TOKENS in left:
        found.append(max(left[Unit.TOKENS] - quote.ask.input.input_tokens, 0))
    tokens = min((each for each in found if each is not None), default=None)
    if tokens is None:
        return None
    # What is admitted has been paid for, however little that is.
    each = max(tokens // quote.ask.choices, 1)
    most = quote.rates.output_ceiling or quote.rates.context_window
    return None if most is not None and each >= most else each


def _output_tokens(rates: Rates, quote: Quote, nanos: int | None) -> int | None:
    """How many tokens of output so much pays for, all choices together; None where they cost nothing."""
    if nanos is None:
        return None
    ask = quote.ask
    fixed, per_token = cost_by_output(rates, ask.input, output_unit=ask.output_unit, uses=ask.expected_uses)
    return max((nanos * FEMTOS_PER_NANO - fixed) // per_token, 0) if per_token else None
