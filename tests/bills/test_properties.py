"""What holds for every bill: it never falls when a class's count rises, is never negative, and loses no token."""

import pytest
from genai_prices.data_snapshot import get_snapshot
from hypothesis import given
from hypothesis import strategies as st

from budget_middleware.core.costs.pricing import FEMTOS_PER_NANO, Rate, Rates, Usage, UsageClass, breakdown, cost_nanos
from budget_middleware.prices import published
from tests.bills.classes import COUNTED_IN, usage_of
from tests.bills.exchanges import NOW

UNITS = list(COUNTED_IN)
# Whole nano-dollars a token, so that no rounding hides a fall.
PER_TOKEN = st.integers(0, 5).map(lambda nanos: nanos * FEMTOS_PER_NANO)
TIERS = st.dictionaries(st.integers(1, 12), PER_TOKEN, max_size=3).map(lambda tiers: tuple(sorted(tiers.items())))
RATES = st.dictionaries(st.sampled_from(list(UsageClass)), st.builds(Rate, PER_TOKEN, TIERS)).map(
    lambda by_unit: Rates(model="m", by_unit=by_unit)
)
CLASSES = st.dictionaries(st.sampled_from(UNITS), st.integers(0, 4))
# Whatever a provider may say, parts larger than their whole included.
USAGES = st.builds(Usage, **dict.fromkeys(Usage.__struct_fields__, st.integers(0, 4)))


def test_each_class_is_known_here():
    assert set(COUNTED_IN) == set(UsageClass) - {UsageClass.REQUEST}


@given(CLASSES)
def test_no_token_is_lost_between_classes(classes):
    """Each is billed once, in its own class."""
    lines = breakdown(Rates(model="m", by_unit={}), usage_of(classes))
    assert {line.unit: line.count for line in lines} == {unit: count for unit, count in classes.items() if count}


@given(USAGES, RATES)
def test_the_lines_of_any_usage_have_all_of_its_tokens(usage, rates):
    lines = {line.unit: line.count for line in breakdown(rates, usage)}
    assert all(count > 0 for count in lines.values())
    billed = Usage(
        input_tokens=sum(count for unit, count in lines.items() if "input_tokens" in COUNTED_IN.get(unit, ())),
        output_tokens=sum(count for unit, count in lines.items() if "output_tokens" in COUNTED_IN.get(unit, ())),
    )
    assert (billed.input_tokens, billed.output_tokens) == (usage.input_tokens, usage.output_tokens)


@given(CLASSES, RATES, st.sampled_from(UNITS), st.integers(1, 20))
def test_a_bill_never_falls_when_a_count_rises(classes, rates, unit, more):
    usage = usage_of(classes)
    nanos = cost_nanos(rates, usage)
    assert 0 <= nanos <= cost_nanos(rates, usage_of({unit: more}, before=usage))


@st.composite
def overlapping(draw) -> Usage:
    """A usage whose tokens may be of two kinds, cached sound for one, of which not all is told."""
    cached, written = draw(st.integers(0, 4)), draw(st.integers(0, 4))
    audio, image = draw(st.integers(0, 4)), draw(st.integers(0, 4))
    cached_audio = draw(st.integers(0, min(cached, audio)))
    return Usage(
        input_tokens=draw(st.integers(written + max(cached, audio + image), 20)),
        cached_input_tokens=cached,
        cache_write_tokens=written,
        cache_write_1h_tokens=draw(st.integers(0, written)),
        input_audio_tokens=audio,
        cached_audio_tokens=cached_audio,
        input_image_tokens=image,
        cached_image_tokens=draw(st.integers(0, min(cached - cached_audio, image))),
    )


# A cache that costs more than none is no cache.
DISCOUNTED = st.fixed_dictionaries(dict.fromkeys(UNITS, PER_TOKEN)).map(
    lambda nanos: Rates(
        model="m",
        by_unit={
            **{unit: Rate(rate) for unit, rate in nanos.items()},
            UsageClass.CACHED_INPUT: Rate(min(nanos[UsageClass.CACHED_INPUT], nanos[UsageClass.INPUT])),
            UsageClass.CACHED_AUDIO: Rate(min(nanos[UsageClass.CACHED_AUDIO], nanos[UsageClass.INPUT_AUDIO])),
            UsageClass.CACHED_IMAGE: Rate(min(nanos[UsageClass.CACHED_IMAGE], nanos[UsageClass.INPUT_IMAGE])),
        },
    )
)


@given(overlapping(), DISCOUNTED, st.sampled_from(UNITS))
def test_nor_where_it_is_not_told_which_tokens_are_of_two_kinds(usage, rates, unit):
    assert cost_nanos(rates, usage) <= cost_nanos(rates, usage_of({unit: 1}, before=usage))


def _all_rates():
    for provider in get_snapshot().providers:
        for info in provider.models:
            if rates := published._rates_of(provider, info, NOW):
                yield rates
                yield from (rates.in_modes((mode,)) for mode in (*rates.by_mode, *rates.basis_points_by_mode))


CLASSES_OF_BOOK = dict.fromkeys(UNITS, 1_000)


@pytest.fixture(scope="module")
def book() -> list[tuple[Rates, Usage, int]]:
    """Usages at the beginning and across each threshold of a long context, and what they come to.

    Of models that cost the same, one: a bill knows no names.
    """
    everything = list(_all_rates())
    assert len(everything) > 2000
    billed = []
    for rates in {frozenset(each.by_unit.items()): each for each in everything}.values():
        tiers = {above for rate in rates.by_unit.values() for above, _ in rate.tiers}
        for input_tokens in (CLASSES_OF_BOOK[UsageClass.INPUT], *tiers):
            usage = usage_of({**CLASSES_OF_BOOK, UsageClass.INPUT: input_tokens})
            billed.append((rates, usage, cost_nanos(rates, usage)))
    return billed


@pytest.mark.parametrize("unit", UNITS)
def test_no_bill_of_any_model_of_the_book_falls_when_a_count_rises(book, unit):
    for rates, usage, nanos in book:
        more = usage_of({unit: 300_000}, before=usage)
        assert 0 < nanos <= cost_nanos(rates, usage_of({unit: 1_000}, before=usage)) <= cost_nanos(rates, more)
