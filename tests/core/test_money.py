from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budget_middleware.core.money import (
    MAX_NANOS,
    MAX_USD,
    NANOS_PER_USD,
    ceil_div,
    half_even_div,
    nanos_from_usd,
    usd_from_nanos,
)

amounts = st.integers(-MAX_NANOS, MAX_NANOS)


@pytest.mark.parametrize(
    ("amount", "nanos"),
    [
        ("0.60", 600_000_000),
        ("0.0823", 82_300_000),
        ("-1", -NANOS_PER_USD),
        ("+.5", 500_000_000),
        ("5.", 5 * NANOS_PER_USD),
        ("1e-9", 1),
        ("2.5E-7", 250),
        ("9000000", MAX_NANOS),
        ("-9e6", -MAX_NANOS),
        ("-0", 0),
        ("0e999999999", 0),
        ("1e-999999999", 0),
        (3, 3 * NANOS_PER_USD),
        (Decimal("1E+3"), 1000 * NANOS_PER_USD),
        ("0.0000000005", 0),
        ("0.0000000015", 2),
        ("0.0000000025", 2),
        ("-0.0000000015", -2),
        ("0.0000000005" + "0" * 40 + "1", 1),
    ],
)
def test_an_amount_is_exact_and_half_even_below_a_nano(amount: str | int | Decimal, nanos: int) -> None:
    assert nanos_from_usd(amount) == nanos


@pytest.mark.parametrize(
    "garbage",
    [
        *[
            "1_0",
            "1,5",
            "$1",
            "NaN",
            "sNaN",
            "-inf",
            "Infinity",
            "0x1",
            "1e",
            "--1",
            ".",
            "e5",
            "1e9999999999",
        ],
        *["", " ", "1 ", "\n1", "1\n", "x" * 10_000],
        *["\N{ARABIC-INDIC DIGIT ONE}", "\N{FULLWIDTH DIGIT ONE}"],
        *[Decimal("NaN"), Decimal("-Infinity"), 0.1, True],
    ],
)
def test_what_is_no_decimal_number_is_refused_in_one_short_line(garbage: str) -> None:
    with pytest.raises(ValueError, match="accepted is a decimal number") as error:
        nanos_from_usd(garbage)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 150


@pytest.mark.parametrize("huge", ["9000000.000000000001", "-9000001", "1e999999999", "9" * 10_000, 10**12])
def test_what_the_store_could_not_count_exactly_is_refused(huge: str | int) -> None:
    with pytest.raises(ValueError, match="at most 9000000 USD"):
        nanos_from_usd(huge)


def test_the_decimal_context_of_the_caller_changes_nothing() -> None:
    with localcontext(prec=3):
        assert nanos_from_usd("8999999.999999999") == MAX_NANOS - 1


@pytest.mark.parametrize(
    ("nanos", "usd"),
    [
        (0, "0.00"),
        (600_000_000, "0.60"),
        (190_000, "0.00019"),
        (-NANOS_PER_USD, "-1.00"),
        (1, "0.000000001"),
        (-1, "-0.000000001"),
        (6_145 * NANOS_PER_USD, "6145.00"),
        (1_234_500_000, "1.2345"),
    ],
)
def test_nanos_are_told_as_exact_decimals(nanos: int, usd: str) -> None:
    assert usd_from_nanos(nanos) == usd


@given(amounts)
def test_an_amount_survives_the_way_out_and_back(nanos: int) -> None:
    assert nanos_from_usd(usd_from_nanos(nanos)) == nanos


@given(amounts, st.integers(1, 10))
def test_division_rounds_up_or_half_even(numerator: int, denominator: int) -> None:
    exact = Fraction(numerator, denominator)
    assert 0 <= ceil_div(numerator, denominator) - exact < 1
    assert half_even_div(numerator, denominator) == round(exact)


@given(st.from_regex(r"[0-9]{1,8}(\.[0-9]{0,11})?", fullmatch=True))
def test_a_plain_amount_is_what_a_decimal_makes_of_it(text):
    exact = Decimal(text)
    if exact <= MAX_USD:
        assert nanos_from_usd(text) == int(exact.scaleb(9).to_integral_value(ROUND_HALF_EVEN)) == nanos_from_usd(exact)
