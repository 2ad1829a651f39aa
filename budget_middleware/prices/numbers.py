"""The numbers of price lists that people write: read exactly, and refused if they are implausible.

The dearest model asks 600 USD per million tokens. A higher number is mostly a price per million where one per token
is asked for, or per thousand where one per million is, and would spend a budget with the first call. So no *ordinary
call* (1,000 tokens or characters, 100 seconds of sound, a second of video, half a minute of training, one of anything
else) may cost more than 2 USD by its rate, unless the entry says that it is meant: `allow_high_prices = true`.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Final, NoReturn

from budget_middleware.core.costs.pricing import UsageClass
from budget_middleware.core.money import MAX_USD, nanos_from_usd
from budget_middleware.prices.units import MILLION, PER, nanos_per_million

ALLOW_HIGH: Final = "allow_high_prices"
MAX_ORDINARY_USD: Final = 2
# Beyond any model's window; a count above it is a slip of the pen.
MAX_TOKENS: Final = 1_000_000_000

_ORDINARY: Final[Mapping[UsageClass, int]] = {
    UsageClass.AUDIO_MS: 100_000,
    UsageClass.VIDEO_MS: 1_000,
    UsageClass.TRAINING_MS: 30_000,
    **{unit: 1 for unit, per in PER.items() if per == 1},
}
_ORDINARY_TOKENS: Final = 1_000
_MAX_FACTOR: Final = 100


def price_in(
    model: str,
    entry: Mapping[str, object],
    field: str,
    *,
    unit: UsageClass,
    per: int,
    named: str = "",
    allows_high: bool = False,
) -> int:
    """A price of an entry, in USD for so many of the unit, as nano-dollars per million.

    ValueError, in one line that names the model, the field and what is accepted. ``named``: the field, if it stands in
    a table below the entry. ``allows_high``: the entry says that its prices are meant, however high.
    """
    usd, most = number_of(entry[field]), Decimal(MAX_USD) * per / MILLION
    ceiling = (
        most if allows_high else min(most, Decimal(MAX_ORDINARY_USD) * per / _ORDINARY.get(unit, _ORDINARY_TOKENS))
    )
    if usd is None or not 0 <= usd <= ceiling:
        is_too_high = usd is not None and ceiling < usd <= most
        unless = f", and up to {most:f} beside {ALLOW_HIGH} = true" if is_too_high else ""
        refuse(model, named or field, entry[field], f"a number of 0 to {ceiling:f}, in USD per {per}{unless}")
    return nanos_per_million(usd, per=per)


def amount_in(model: str, entry: Mapping[str, object], field: str) -> int | None:
    """An amount in USD, in nano-dollars; None where there is none."""
    if field not in entry:
        return None
    usd = number_of(entry[field])
    if usd is None or not 0 < usd <= MAX_USD:
        refuse(model, field, entry[field], f"an amount above 0 and up to {MAX_USD} USD")
    return max(nanos_from_usd(usd), 1)


def allows_high_in(model: str, entry: Mapping[str, object]) -> bool:
    """Whether an entry says that its prices are meant, however high."""
    value = entry.get(ALLOW_HIGH, False)
    if not isinstance(value, bool):
        refuse(model, ALLOW_HIGH, value, "true or false")
    return value


def count_in(model: str, entry: Mapping[str, object], field: str) -> int | None:
    """A count of tokens, None where there is none."""
    if entry.get(field) is None:
        return None
    count = number_of(entry[field])
    if count is None or not 1 <= count <= MAX_TOKENS or count != int(count):
        refuse(model, field, entry[field], f"a whole number of 1 to {MAX_TOKENS} tokens")
    return int(count)


def factor_of(model: str, field: str, value: object) -> int:
    """A factor of prices, in hundredths of a percent."""
    factor = number_of(value)
    if factor is None or not 0 <= factor <= _MAX_FACTOR:
        refuse(model, field, value, f"a factor of 0 to {_MAX_FACTOR}")
    return int(factor * 10_000)


def number_of(value: object) -> Decimal | None:
    """The value if it is a finite number, exactly."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal) or not Decimal(value).is_finite():
        return None
    return Decimal(value)


def refuse(model: str, field: str, value: object, accepted: str) -> NoReturn:
    """Raise a ValueError, in one line that names all of these."""
    found = "missing" if value is None else repr(str(value)[:40])
    raise ValueError(f"model {model!r}: {field} is {found}; accepted is {accepted}")
