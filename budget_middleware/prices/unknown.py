"""What a model costs that no list knows: BUDGET_UNKNOWN_MODEL."""

from dataclasses import dataclass
from typing import Final

from budget_middleware.core.costs.pricing import Rate, Rates, UsageClass
from budget_middleware.core.money import MAX_USD, nanos_from_usd

UNKNOWN: Final = "BUDGET_UNKNOWN_MODEL"


@dataclass(frozen=True, slots=True)
class UnknownModel:
    """What a model costs that the book does not know: `rates`, or None to reject it."""

    rates: Rates | None

    @property
    def rejects(self) -> bool:
        """Whether a request for such a model is refused where a limit binds it."""
        return self.rates is None


def parse_unknown_model(text: str) -> UnknownModel:
    """Read `reject`, `free` or `IN/OUT` in USD per million tokens; one-line ValueError for anything else."""
    if text == "reject":
        return UnknownModel(None)
    price_in, slash, price_out = ("0", "/", "0") if text == "free" else text.partition("/")
    try:
        nanos = [nanos_from_usd(price) for price in (price_in, price_out) if slash]
    except ValueError:
        nanos = []
    if not nanos or min(nanos) < 0:
        raise ValueError(
            f"{text[:40]!r} is no price for unknown models; accepted is reject, free or IN/OUT in USD"
            f" per million tokens, each 0 to {MAX_USD}, such as 2.5/10"
        )
    by_unit = {UsageClass.INPUT: Rate(nanos[0]), UsageClass.OUTPUT: Rate(nanos[1])}
    return UnknownModel(Rates(model="", by_unit=by_unit, source=UNKNOWN))
