"""What an answer costs: the gateway's own figure, else its usage at the rates of the model that answered."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from budget_middleware.apis.protocol.seen import NOT_TOKENS, Seen
from budget_middleware.apis.protocol.usage_rules import Contradiction, with_expected_input
from budget_middleware.core.costs.bill import Amount, AmountKind
from budget_middleware.core.costs.bill_packing import PricedCall, pack, priced_call_of
from budget_middleware.core.costs.charges import USAGE, Basis, Charge, End, Evidence
from budget_middleware.core.costs.pricing import (
    BILLED_INSTEAD,
    OUTPUT_CLASSES,
    Rates,
    Usage,
    UsageClass,
    breakdown,
    counts_of_tools,
    sum_nanos,
    unpriced_uses,
)
from budget_middleware.core.costs.usage import TokensCounted, tokens_of
from budget_middleware.core.money import MAX_NANOS, nanos_from_usd
from budget_middleware.headers import Headers
from budget_middleware.prices import PriceBook
from budget_middleware.request.bills.who_answers import Answered, rates_of_extra_call, who_answered
from budget_middleware.request.quotes.quote import Quote
from budget_middleware.request.quotes.shown_model import shown_model
from budget_middleware.telemetry import names

_NO_SOURCES: Final[Mapping[UsageClass, str]] = {}
_NOTHING_UNPRICED: Final[frozenset[str]] = frozenset()
# What is not priced is counted all the same.
_NO_RATES: Final = Rates(model="", by_unit={})
_WITHOUT_USAGE: Final = {
    Basis.SEEN: AmountKind.ESTIMATE,
    Basis.ESTIMATE: AmountKind.ESTIMATE,
    Basis.EXPECTED_INPUT: AmountKind.EXPECTED_INPUT,
}
_UNITS: Final = {
    "characters": UsageClass.CHARACTER,
    "audio_ms": UsageClass.AUDIO_MS,
    "images": UsageClass.IMAGE,
    "rerank_searches": UsageClass.RERANK_SEARCH,
}
# Python 3.11 takes ten times as long to find the member of an enum as a global.
_COMPLETE: Final = End.COMPLETE
_BY_USAGE: Final = Basis.USAGE
_NO_MODES: Final = (None,)
# The modes that cost more wherever they have a price at all.
_PREMIUM_MODES: Final = frozenset({"fast", "ultrafast", "priority", "optimized", "us"})


class Bill:
    """The bill of one request; `reported_nanos` is the cost that the answer's headers name, if they name one."""

    def __init__(self, quote: Quote, prices: PriceBook) -> None:
        self.reported_nanos: int | None = None
        # Why the usage that was billed could not be reconciled, and the names of its fields.
        self.contradiction = ""
        # What led to the figures of the last evidence: calls by their rates, and what no rate led to.
        self._calls: list[PricedCall] = []
        self._amounts: list[Amount] = []
        # The calls and amounts of the bill that was packed last.
        self._packed: tuple[Sequence[PricedCall], Sequence[Amount]] = ((), ())
        # What was used and is missing from the bill, since nobody knows its price: tools, and modes that cost more.
        self.unpriced = _NOTHING_UNPRICED
        # The model that answered, if it is not the one that was asked for.
        self.answered: Answered | None = None
        self._quote = quote
        self._prices = prices
        # Prices are those of the estimate, however long it waits and however long the answer takes.
        self._moment = quote.moment or prices.moment

    def evidence(
        self,
        seen: Seen,
        *,
        end: End,
        is_error: bool,
        output_began: bool,
        inner_id: str = "",
        app_added: bool = False,
    ) -> Evidence:
        """What the charge is decided by. ``app_added``: the app itself has said what its calls have cost."""
        self.contradiction = ""
        self._calls, self._amounts = [], []
        self.unpriced = _NOTHING_UNPRICED
        actual_nanos = self._actual_nanos(seen, app_added=app_added)
        # Priced only where the charge depends on it.
        is_guessed = actual_nanos is None and not is_error
        goes_on = seen.continues_unread
        return Evidence(
            end=end,
            is_error=is_error,
            output_began=output_began,
            actual_nanos=actual_nanos,
            input_nanos=self._quote.input_nanos if is_guessed else 0,
            seen_nanos=self._seen_nanos(seen) if is_guessed else None,
            estimate_nanos=self._quote.expected_nanos if is_guessed or goes_on else 0,
            goes_on=goes_on,
            # What goes on unseen does so too, whoever was there to hear its name.
            outlives_client=self._quote.ask.outlives_client or (self._quote.ask.is_unseen and not seen.text_bytes),
            inner_id=inner_id,
            is_unreconciled=bool(self.contradiction),
            outcome=seen.outcome(is_error_status=is_error, is_whole=end is _COMPLETE),
        )

    def _actual_nanos(self, seen: Seen, *, app_added: bool) -> int | None:
        """None where the answer reports neither a cost nor its usage."""
        rates = self._billed_rates(seen)
        if seen.is_from_cache:
            # Its usage is that of the call that once filled the cache.
            return self._accept_cost(AmountKind.GATEWAY_COST, 0, rates, seen)
        if self.reported_nanos is not None or seen.cost_nanos is not None:
            for kind, reported_nanos in (
                (AmountKind.GATEWAY_COST, self.reported_nanos),
                (AmountKind.PROVIDER_COST, seen.cost_nanos),
            ):
                # A gateway that knows no price reports 0: that is no cost where we know one.
                if reported_nanos is not None and (reported_nanos > 0 or rates is None):
                    return self._accept_cost(kind, reported_nanos, rates, seen)
            if seen.is_cost_sure and self.reported_nanos is None and seen.cost_nanos is not None:
                return self._accept_cost(AmountKind.PROVIDER_COST, seen.cost_nanos, rates, seen)
        # A response that is still worked on may report the usage so far, or zeros.
        usage = None if seen.continues_unread else seen.whole_usage(self._quote.ask.input)
        if usage is None or (seen.usage is not None and seen.usage.images and _is_unsold(seen.usage, rates)):
            # Zeros are no usage of an answer with text; if the app reported its calls, they say that there is no more.
            return 0 if app_added and seen.usage == Usage() else None
        nanos = self._reconciled_nanos(rates, usage, seen)
        for model, used in seen.extra_calls:
            nanos += self._billed_nanos(self._in_modes(self._rates_beside(model, rates, used, seen=seen), seen), used)
        return min(nanos, MAX_NANOS)

    def _accept_cost(self, kind: AmountKind, nanos: int, rates: Rates | None, seen: Seen) -> int:
        """Book a cost that the gateway or the provider reports; the usage is only counted."""
        self._amounts.append(Amount(kind, nanos))
        if seen.usage is not None and (lines := breakdown(rates or _NO_RATES, seen.usage)):
            self._calls.append(PricedCall(rates, lines, is_billed=False))
        return nanos

    def _billed_nanos(self, rates: Rates | None, usage: Usage) -> int:
        """The cost of a call, which is noted for the bill."""
        lines = shown = breakdown(rates or _NO_RATES, usage)
        # Few calls use a tool of the provider.
        if rates is not None and any(counts_of_tools(usage)):
            missing = unpriced_uses(rates, usage)
            self.unpriced |= set(missing)
            priced = {*rates.by_unit, *missing}
            shown = tuple(line for line in lines if line.unit not in BILLED_INSTEAD or line.unit in priced)
        if shown:
            self._calls.append(priced_call_of((rates, shown, True)))
        return sum_nanos(lines)

    def _reconciled_nanos(self, rates: Rates | None, usage: Usage, seen: Seen) -> int:
        self.contradiction = seen.contradiction
        billed_at = self._in_modes(rates, seen)
        completed = usage if usage.input_tokens else with_expected_input(usage, self._quote.ask.input)
        # What is wholly reported has no guesses in it.
        sure = completed if completed is seen.usage else _without_guesses(completed, seen.usage, rates)
        completed_nanos = self._billed_nanos(billed_at, sure)
        if completed is not usage and completed_nanos > sum_nanos(breakdown(billed_at or _NO_RATES, usage)):
            self.contradiction = self.contradiction or f"{Contradiction.NO_INPUT}: output alone"
        return completed_nanos

    def _seen_nanos(self, seen: Seen) -> int | None:
        """The input and the output that was read; None where too little was seen."""
        if seen.continues_unread or not (seen.readable or seen.text_bytes):
            return None
        rates = self._in_modes(self._billed_rates(seen), seen)
        nanos = self._billed_nanos(rates, seen.usage_so_far(self._quote.ask.input))
        # What it had besides its text is taken for the rest of what was estimated.
        is_all = seen.readable and not seen.hides_output
        if not is_all and (hidden_nanos := self._quote.expected_nanos - nanos) > 0:
            self._amounts.append(Amount(AmountKind.HIDDEN_OUTPUT, hidden_nanos))
            nanos += hidden_nanos
        return nanos

    def _in_modes(self, rates: Rates | None, seen: Seen) -> Rates | None:
        """The rates in the modes that the answer reports, and else as they were asked for."""
        if rates is None:
            return None
        # A more expensive tier that was requested counts, unless the answer reports another one.
        tier = seen.service_tier or (
            self._quote.ask.service_tier if self._quote.ask.service_tier in _PREMIUM_MODES else None
        )
        modes = (tier, *(seen.modes or self._quote.ask.modes))
        if modes == _NO_MODES and not seen.unknown_tools:
            return rates
        if seen.unknown_tools or not _PREMIUM_MODES.isdisjoint(modes):
            self.unpriced |= {*seen.unknown_tools, *_unpriced_modes(rates, modes)}
        return rates.in_modes(modes)

    def _billed_rates(self, seen: Seen) -> Rates | None:
        """A gateway may have fallen back to another model: the one that answered counts, if it has a price."""
        self.answered = who_answered(seen, quote=self._quote, prices=self._prices, moment=self._moment)
        return self.answered.rates if self.answered is not None else self._quote.rates

    def _rates_beside(self, model: str | None, rates: Rates | None, used: Usage, *, seen: Seen) -> Rates | None:
        """The rates of a call beside the one that answered, which has these rates."""
        quote = self._quote
        if model is None or (model and model == quote.ask.model):
            return quote.rates or rates
        own = rates_of_extra_call(model, used, seen=seen, quote=quote, prices=self._prices, moment=self._moment)
        return own or rates

    def is_by_quoted_model(self, seen: Seen) -> bool:
        """Whether the model that was quoted has answered, by the last evidence. It may name a version of itself, which
        costs as much.
        """
        quoted, answered = self._quote.rates, self.answered
        is_only_name = not self._quote.other_models
        if quoted is None or answered is None:
            return is_only_name or bool(seen.model)
        return answered.rates.model == quoted.model or (is_only_name and answered.rates.by_unit == quoted.by_unit)

    def fixed_femtos(self) -> int:
        """What all but the output has cost, by the rates that led to the figures of the last evidence."""
        femtos = 0
        for call in self._calls:
            for line in call.lines:
                if line.unit not in OUTPUT_CLASSES:
                    femtos += line.count * line.nanos_per_million
        return femtos

    def tokens(self, charge: Charge, seen: Seen, counted: TokensCounted) -> int:
        """The tokens of a charge that the last evidence has led to: by what that is based on, as its money is."""
        quote, basis = self._quote, charge.basis
        if basis is Basis.NOTHING or (charge.has_added and seen.usage == Usage()):
            return 0
        if basis is Basis.EXPECTED_INPUT:
            return quote.ask.input.input_tokens
        if basis is Basis.USAGE and seen.is_from_cache:
            # Its usage is that of the call that once filled the cache.
            return 0
        usages = None if basis is Basis.ESTIMATE else self._usages(seen, is_reported=basis is Basis.USAGE)
        if usages is None:
            return quote.mean_tokens
        tokens = sum([tokens_of(usage, counted) for usage in usages])
        is_all = basis is not Basis.SEEN or (seen.readable and not seen.hides_output)
        return tokens if is_all else max(tokens, quote.mean_tokens)

    def _usages(self, seen: Seen, *, is_reported: bool) -> Sequence[Usage] | None:
        """What was used, as it is reported or else as far as it was read; None where too little was."""
        expected_input = self._quote.ask.input
        usage = seen.whole_usage(expected_input) if is_reported and not seen.continues_unread else None
        if usage is not None and not _is_unsold(seen.usage, self._billed_rates(seen)):
            return [with_expected_input(usage, expected_input), *[used for _, used in seen.extra_calls]]
        if seen.continues_unread or not (seen.readable or seen.text_bytes):
            return None
        return [seen.usage_so_far(expected_input)]

    def packed(self, charge: Charge, *, added_nanos: int = 0) -> str:
        """The itemized bill of a charge that the last evidence has led to, and of what the app added to it."""
        basis = _BY_USAGE if charge.reason == USAGE else charge.basis
        calls, amounts = self._calls, self._amounts
        if basis is not _BY_USAGE and not (basis is Basis.SEEN and calls):
            kind = _WITHOUT_USAGE.get(basis)
            calls, amounts = [], ([Amount(kind, charge.nanos - added_nanos)] if kind is not None else [])
        if added_nanos:
            amounts = [*amounts, Amount(AmountKind.APP_TOLD, added_nanos)]
        self._packed = calls, amounts
        named = self.contradiction and self.contradiction.partition(": ")[0]
        return pack(nanos=charge.nanos, calls=calls, amounts=amounts, contradiction=named)

    def usage_headers(self) -> Headers:
        """What accompanies the cost in the headers of an answer: how many of each class, and whose prices they have.

        Of the bill that was packed; empty before.
        """
        calls, amounts = self._packed
        counts: dict[str, int] = {}
        sources: dict[str, None] = {}
        for call in calls:
            rates, lines, is_billed = call
            source_of: Mapping[UsageClass, str] = _NO_SOURCES
            if rates is not None and is_billed:
                if rates.other_sources:
                    source_of = rates.source_by_unit
                else:
                    sources[rates.source] = None
            for line in lines:
                unit = line.unit
                counts[unit] = counts.get(unit, 0) + line.count
                if unit in source_of:
                    sources[source_of[unit]] = None
        for kind, _ in amounts:
            sources[kind] = None
        headers: Headers = []
        if counts:
            usage = ""
            for name, count in counts.items():
                usage += f", {name}={count}"
            headers.append((b"x-budget-usage", usage[2:].encode()))
        if sources:
            headers.append((b"x-budget-price-source", ", ".join(sources).encode()))
        return headers


def _is_unsold(reported: Usage | None, rates: Rates | None) -> bool:
    """Whether an answer reports images alone, and the model is sold by their tokens."""
    if reported is None or rates is None or not reported.images or reported.input_tokens or reported.output_tokens:
        return False
    return UsageClass.IMAGE not in rates.by_unit


def _unpriced_modes(rates: Rates, modes: Iterable[str | None]) -> Iterator[str]:
    priced = {*rates.by_mode, *rates.basis_points_by_mode}
    return (f"mode {mode}" for mode in modes if mode in _PREMIUM_MODES and mode not in priced and not rates.is_free)


def _without_guesses(usage: Usage, reported: Usage | None, rates: Rates | None) -> Usage:
    """The usage without what only the request shows, where the model has a price for what the answer reports.

    Price lists name tokens and seconds, or tokens and images, for one model, and a call is billed by one of them.
    """
    if reported is None or rates is None:
        return usage
    others = [name for name in NOT_TOKENS if getattr(usage, name) and not getattr(reported, name)]
    if reported.input_tokens or reported.output_tokens:
        is_priced = not (rates.of(UsageClass.INPUT).is_free and rates.of(UsageClass.OUTPUT).is_free)
        return replace(usage, **dict.fromkeys(others, 0)) if others and is_priced else usage
    is_reported = any(getattr(reported, name) and not rates.of(unit).is_free for name, unit in _UNITS.items())
    return reported if is_reported else usage


def reported_cost(text: bytes) -> int | None:
    """The cost that a header names, in nano-dollars; None for anything that is not an amount."""
    if not text:
        return None
    try:
        nanos = nanos_from_usd(text.decode("ascii"))
    except ValueError:
        return None
    return nanos if 0 <= nanos <= MAX_NANOS else None


def usage_attributes(model: str | None, usage: Usage | None) -> names.Attributes:
    """The attributes of the answer for the finalize span."""
    attributes: dict[str, str | int | float | bool] = {}
    if model is not None:
        attributes[names.RESPONSE_MODEL] = shown_model(model)
    if usage is not None:
        attributes[names.INPUT_TOKENS] = usage.input_tokens
        attributes[names.OUTPUT_TOKENS] = usage.output_tokens
    return attributes
