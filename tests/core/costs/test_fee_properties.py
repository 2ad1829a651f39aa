"""What holds of every bill with fees and modes."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from budget_middleware.core.costs.pricing import (
    FEMTOS_PER_NANO,
    Rate,
    Rates,
    Usage,
    UsageClass,
    breakdown,
    cost_nanos,
    estimate_nanos,
    unpriced_uses,
)
from budget_middleware.core.costs.usage import FEES, FIELD_BY_PIECE, FIELD_OF_TOOL

SMALL = st.integers(0, 3)
RATE = st.builds(Rate, SMALL.map(lambda nanos: nanos * FEMTOS_PER_NANO))
BY_UNIT = st.dictionaries(st.sampled_from(UsageClass), RATE)
MODES = ("fast", "us", "hd")
RATES = st.builds(
    Rates,
    model=st.just("m"),
    by_unit=BY_UNIT,
    by_mode=st.dictionaries(st.sampled_from(MODES), BY_UNIT),
    basis_points_by_mode=st.dictionaries(st.sampled_from(MODES), st.sampled_from([0, 5_000, 11_000, 60_000])),
    least_audio_ms=SMALL,
)
ASKED = st.lists(st.sampled_from([*MODES, None, "unheard of"]), max_size=3)
USAGE = st.builds(Usage, **dict.fromkeys(FIELD_BY_PIECE.values(), SMALL), input_tokens=SMALL, output_tokens=SMALL)


@given(RATES, ASKED, USAGE, st.sampled_from(list(FIELD_BY_PIECE.values())), st.integers(1, 3))
def test_a_bill_never_falls_in_any_mode_when_a_count_rises(rates, asked, usage, name, more):
    in_modes = rates.in_modes(asked)
    nanos = cost_nanos(in_modes, usage)
    assert 0 <= nanos <= cost_nanos(in_modes, replace(usage, **{name: getattr(usage, name) + more}))


@given(RATES, ASKED, USAGE)
def test_no_mode_loses_a_count(rates, asked, usage):
    def counts(prices):
        return {line.unit: line.count for line in breakdown(prices, usage) if line.unit is not UsageClass.REQUEST}

    assert counts(rates.in_modes(asked)) == counts(rates)


@given(RATES, ASKED)
def test_a_factor_leaves_each_fee_as_it_is(rates, asked):
    alone = replace(rates, by_mode={})
    in_modes = alone.in_modes(asked)
    assert all(in_modes.of(unit) == alone.of(unit) for unit in FEES)


# In two readings, or sold with each request.
SEARCHES = {UsageClass.WEB_SEARCH, UsageClass.GROUNDED_REQUEST}
CODE = {UsageClass.CODE_CONTAINER, UsageClass.CODE_EXECUTION}


@given(RATES.filter(lambda rates: not rates.is_free), st.sampled_from(list(FIELD_OF_TOOL)))
def test_a_use_has_a_price_or_is_told_to_have_none(rates, unit):
    priced_by = {unit, UsageClass.REQUEST} if unit in SEARCHES else {unit}
    told = unpriced_uses(rates, Usage(**{FIELD_OF_TOOL[unit]: 1}))
    assert told == (() if priced_by & rates.by_unit.keys() else (unit,))
    # Told in both readings, it is enough that one of them has a price.
    both = next((pair for pair in (SEARCHES, CODE) if unit in pair), {unit})
    told = unpriced_uses(rates, Usage(**{FIELD_OF_TOOL[each]: 1 for each in both}))
    assert len(told) == (not (priced_by | both) & rates.by_unit.keys())


@given(RATES, USAGE, st.dictionaries(st.sampled_from(list(FIELD_OF_TOOL)), SMALL))
def test_expected_uses_are_reserved_at_their_price(rates, usage, uses):
    used = Usage(**{FIELD_OF_TOOL[unit]: count for unit, count in uses.items()})
    more = cost_nanos(rates, used) - cost_nanos(rates, Usage())
    assert estimate_nanos(rates, usage, uses=tuple(uses.items())) == estimate_nanos(rates, usage) + more
