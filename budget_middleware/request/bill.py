"""What an answer costs: the gateway's own figure, else its usage at the rates of the model that answered."""

from budget_middleware.apis.base import Seen
from budget_middleware.apis.usage_rules import Doubt, with_expected_input
from budget_middleware.core.charges import End, Evidence
from budget_middleware.core.money import MAX_NANOS, nanos_from_usd
from budget_middleware.core.pricing import Rates, Usage, cost_nanos
from budget_middleware.prices import PriceBook
from budget_middleware.request.admission import shown_model
from budget_middleware.request.quote import Quote
from budget_middleware.telemetry import names


class Bill:
    """The bill of one request; `reported_nanos` is the cost that the answer's headers name, if they name one."""

    def __init__(self, quote: Quote, prices: PriceBook) -> None:
        self.reported_nanos: int | None = None
        # Why the usage that was billed could not be reconciled, and the names of its fields.
        self.doubt = ""
        self._quote = quote
        self._prices = prices
        # By the prices of the estimate, however long the answer takes.
        self._minute = prices.minute

    def evidence(
        self, seen: Seen, *, end: End, is_error: bool, output_began: bool, inner_id: str = "", app_told: bool = False
    ) -> Evidence:
        """What the charge is decided by. ``app_told``: the app itself has said what its calls have cost."""
        self.doubt = ""
        actual_nanos = self._actual_nanos(seen, app_told=app_told)
        # Priced only where the charge depends on it.
        is_guessed = actual_nanos is None and not is_error
        return Evidence(
            end=end,
            is_error=is_error,
            output_began=output_began,
            actual_nanos=actual_nanos,
            input_nanos=self._quote.input_nanos if is_guessed else 0,
            seen_nanos=self._seen_nanos(seen) if is_guessed else None,
            estimate_nanos=self._quote.estimate_nanos,
            goes_on=seen.goes_on_unread,
            inner_id=inner_id,
            is_unreconciled=bool(self.doubt),
            outcome=seen.outcome(is_error_status=is_error, is_whole=end is End.COMPLETE),
        )

    def _actual_nanos(self, seen: Seen, *, app_told: bool) -> int | None:
        """None where the answer tells neither a cost nor its usage."""
        rates = self._billed_rates(seen)
        for reported_nanos in (self.reported_nanos, seen.cost_nanos):
            # A gateway that knows no price reports 0: that is no cost where we know one.
            if reported_nanos is not None and (reported_nanos > 0 or rates is None):
                return reported_nanos
        if seen.is_cost_sure and self.reported_nanos is None:
            return seen.cost_nanos
        # What is still worked on may tell a usage of the work so far, or zeros.
        usage = None if seen.goes_on_unread else seen.whole_usage(self._quote.ask.input)
        if usage is None:
            # Zeros are no usage of an answer that has a text, but then they say: there is nothing more than was told.
            return 0 if app_told and seen.usage == Usage() else None
        nanos = self._reconciled_nanos(rates, usage, seen)
        for model, used in seen.beside:
            nanos += _nanos(self._rates_of(model) or rates, used, seen.service_tier)
        return min(nanos, MAX_NANOS)

    def _reconciled_nanos(self, rates: Rates | None, usage: Usage, seen: Seen) -> int:
        self.doubt = seen.doubt
        nanos = _nanos(rates, usage, seen.service_tier)
        completed = with_expected_input(usage, self._quote.ask.input)
        if completed is usage:
            return nanos
        completed_nanos = _nanos(rates, completed, seen.service_tier)
        if completed_nanos > nanos:
            self.doubt = self.doubt or f"{Doubt.NO_INPUT}: output alone"
        return completed_nanos

    def _seen_nanos(self, seen: Seen) -> int | None:
        """The input and the output that was read; None where that tells too little."""
        if not seen.readable or seen.goes_on_unread:
            return None
        nanos = _nanos(self._billed_rates(seen), seen.usage_so_far(self._quote.ask.input), seen.service_tier)
        # What it had besides its text is taken for the rest of what was estimated.
        return max(nanos, self._quote.estimate_nanos) if seen.hides_output else nanos

    def _billed_rates(self, seen: Seen) -> Rates | None:
        """A gateway may have fallen back to another model: the one that answered counts, if it has a price."""
        return self._rates_of(seen.model or "") or self._quote.rates

    def _rates_of(self, model: str) -> Rates | None:
        """The rates of a model that the answer names; None if it is what was asked, or has no price of its own."""
        ask = self._quote.ask
        return self._prices.resolve_answer(
            model,
            asked=ask.model or "",
            provider=ask.provider,
            minute=self._minute,
            is_only_name=not self._quote.other_models,
        )


def _nanos(rates: Rates | None, usage: Usage, service_tier: str | None) -> int:
    return cost_nanos(rates.in_service_tier(service_tier), usage) if rates is not None else 0


def reported_cost(text: bytes) -> int | None:
    """The cost that a header names, in nano-dollars; None for anything that is not an amount."""
    if not text:
        return None
    try:
        nanos = nanos_from_usd(text.decode("ascii"))
    except ValueError:
        return None
    return nanos if 0 <= nanos <= MAX_NANOS else None


def usage_told(model: str | None, usage: Usage | None) -> names.Attributes:
    """What the finalize span tells of the answer."""
    attributes: dict[str, str | int | float | bool] = {}
    if model is not None:
        attributes[names.RESPONSE_MODEL] = shown_model(model)
    if usage is not None:
        attributes[names.INPUT_TOKENS] = usage.input_tokens
        attributes[names.OUTPUT_TOKENS] = usage.output_tokens
    return attributes
