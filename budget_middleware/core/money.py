"""Money is an integer of nano-dollars (1e-9 USD); decimal text only at the edges, floats nowhere."""

import re
from decimal import MAX_EMAX, MIN_EMIN, ROUND_HALF_EVEN, Context, Decimal

NANOS_PER_USD = 1_000_000_000
_NANOS_PER_CENT = NANOS_PER_USD // 100
MAX_USD = 9_000_000
# Lua compares doubles, which are exact to 2**53; a larger amount is refused at the edge.
MAX_NANOS = MAX_USD * NANOS_PER_USD

# Decimal() alone also takes underscores, spaces and the digits of every script.
_AMOUNT = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,9})?")
# As nearly every amount is written: no sign, no exponent, nothing below a nano-dollar, and less than a million.
_PLAIN_AMOUNT = re.compile(r"([0-9]{1,6})(?:\.([0-9]{1,9}))?")
_NANO = Decimal("1E-9")
# A context of our own: the caller's thread may have set another precision or rounding.
_CONTEXT = Context(prec=28, rounding=ROUND_HALF_EVEN, Emin=MIN_EMIN, Emax=MAX_EMAX)


def ceil_div(numerator: int, denominator: int) -> int:
    """The quotient rounded up; `denominator` is positive."""
    return -(-numerator // denominator)


def half_even_div(numerator: int, denominator: int) -> int:
    """The quotient rounded to the nearest integer, a tie to the even one; `denominator` is positive."""
    quotient, remainder = divmod(numerator, denominator)
    return quotient + (2 * remainder + quotient % 2 > denominator)


def nanos_from_usd(amount: str | int | Decimal) -> int:
    """The nano-dollars of an amount in USD, half-even below one nano-dollar; negative amounts are allowed.

    Text is a plain ASCII decimal number with an optional sign and exponent. ValueError, in one line, for
    anything else (NaN, infinity and floats included) and for more than MAX_USD in either direction.
    """
    if isinstance(amount, str) and (plain := _PLAIN_AMOUNT.fullmatch(amount)) is not None:
        # Several times as fast as by Decimal.
        return int(plain[1]) * NANOS_PER_USD + int((plain[2] or "").ljust(9, "0"))
    text = str(amount)
    # A float is refused even where its text looks exact: a caller with a float has already lost the amount.
    if isinstance(amount, float) or not _AMOUNT.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is not an amount in USD; accepted is a decimal number such as 0.25")
    usd = Decimal(text)
    if usd.copy_abs() > MAX_USD:
        raise ValueError(f"{text[:40]!r} is too large an amount; accepted is at most {MAX_USD} USD")
    return int(usd.quantize(_NANO, context=_CONTEXT).scaleb(9, context=_CONTEXT))


def usd_from_nanos(nanos: int) -> str:
    """The exact decimal text in USD: no exponent, at least two decimals, no trailing zeros beyond them."""
    usd, below = divmod(abs(nanos), NANOS_PER_USD)
    sign = "-" if nanos < 0 else ""
    if below % _NANOS_PER_CENT:
        return f"{sign}{usd}.{below:09d}".rstrip("0")
    return f"{sign}{usd}.{below // _NANOS_PER_CENT:02d}"
