"""What tokens cost, to the nano-dollar."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budget_middleware.core.costs.pricing import (
    FEMTOS_PER_NANO,
    FREE,
    Rate,
    Rates,
    Usage,
    UsageClass,
    breakdown,
    cost_nanos,
    estimate_nanos,
    unpriced_uses,
)
from budget_middleware.core.costs.usage import FIELD_BY_PIECE
from budget_middleware.core.money import MAX_NANOS, nanos_from_usd


def rates(**usd_per_mtok):
    by_unit = {UsageClass(name): Rate(nanos_from_usd(str(usd))) for name, usd in usd_per_mtok.items()}
    return Rates(model="m", by_unit={UsageClass.INPUT: FREE, UsageClass.OUTPUT: FREE} | by_unit)


ONE_EACH = rates(
    input=1,
    cached_input=10,
    cache_write=100,
    input_audio=1000,
    cached_audio=5000,
    output=2,
    reasoning=20,
    output_audio=200,
    cache_write_1h=400,
    input_image=30_000,
    cached_image=70_000,
    output_image=700,
    characters=11,
    image=13,
    audio_hour=17,
    rerank_search=19,
    web_search=23,
)


class TestCost:
    def test_f17_cached_tokens_are_counted_once(self):
        usage = Usage(input_tokens=1000, cached_input_tokens=900)
        assert cost_nanos(rates(input=1, cached_input="0.1"), usage) == nanos_from_usd("0.000190")

    def test_f17_explicit_zeros_cost_nothing(self):
        assert cost_nanos(ONE_EACH, Usage()) == 0

    @pytest.mark.parametrize(
        ("usage", "usd_micros"),
        [
            (Usage(input_tokens=7), 7),
            (Usage(input_tokens=7, cached_input_tokens=3), 4 + 30),
            (Usage(input_tokens=7, cache_write_tokens=2), 5 + 200),
            (Usage(input_tokens=7, cached_input_tokens=3, cache_write_tokens=2), 2 + 30 + 200),
            (Usage(input_tokens=7, input_audio_tokens=1), 6 + 1000),
            (Usage(output_tokens=5), 10),
            (Usage(output_tokens=5, reasoning_tokens=4), 2 + 80),
            (Usage(output_tokens=5, reasoning_tokens=1, output_audio_tokens=2), 4 + 20 + 400),
            # Cached audio is part of the cached and of the audio tokens.
            (
                Usage(input_tokens=7, cached_input_tokens=3, input_audio_tokens=2, cached_audio_tokens=1),
                3 + 20 + 1000 + 5000,
            ),
            # What does not fit into the whole was counted twice: three cached, five audio, one of them both.
            (Usage(input_tokens=7, cached_input_tokens=3, input_audio_tokens=5), 20 + 4000 + 5000),
            # So with images: three cached, five of images, one of them both; with both, sound is the cached one.
            (Usage(input_tokens=7, input_image_tokens=2), 5 + 60_000),
            (Usage(input_tokens=7, cached_input_tokens=3, input_image_tokens=5), 20 + 4 * 30_000 + 70_000),
            (
                Usage(input_tokens=7, cached_input_tokens=3, input_image_tokens=2, cached_image_tokens=1),
                3 + 20 + 30_000 + 70_000,
            ),
            (
                Usage(input_tokens=4, cached_input_tokens=1, input_audio_tokens=2, input_image_tokens=2),
                1000 + 5000 + 2 * 30_000,
            ),
            # An hour's writes are part of the writes.
            (Usage(input_tokens=7, cache_write_tokens=4, cache_write_1h_tokens=3), 3 + 100 + 3 * 400),
            (Usage(output_tokens=5, output_image_tokens=2), 6 + 2 * 700),
            (Usage(characters=2, images=3), 2 * 11 + 3 * 13),
            (Usage(audio_ms=2, rerank_searches=1, web_searches=1), 2 * 17 + 19 + 23),
        ],
    )
    def test_each_class_at_its_own_rate(self, usage, usd_micros):
        assert cost_nanos(ONE_EACH, usage) == usd_micros * 1000

    def test_a_class_without_a_price_is_billed_as_its_parent(self):
        usage = Usage(
            input_tokens=10,
            cached_input_tokens=3,
            cache_write_tokens=2,
            input_audio_tokens=1,
            output_tokens=4,
            reasoning_tokens=1,
            output_audio_tokens=1,
        )
        assert cost_nanos(rates(input=1, output=2), usage) == 18_000

    @pytest.mark.parametrize(
        ("priced", "usd_micros"), [({"cached_input": 3}, 3), ({"cached_input": 3, "input_audio": 9}, 9)]
    )
    def test_cached_audio_without_a_price_is_audio_before_it_is_cached_text(self, priced, usd_micros):
        usage = Usage(input_tokens=1, cached_input_tokens=1, input_audio_tokens=1, cached_audio_tokens=1)
        assert cost_nanos(rates(input=1, **priced), usage) == usd_micros * 1000

    def test_parts_larger_than_the_whole_are_cut_to_it(self):
        usage = Usage(input_tokens=2, cached_input_tokens=9, cache_write_tokens=9, input_audio_tokens=9)
        assert sum(line.count for line in breakdown(ONE_EACH, usage)) == 2
        usage = Usage(output_tokens=2, reasoning_tokens=9, output_audio_tokens=9)
        assert cost_nanos(ONE_EACH, usage) == 40_000

    @pytest.mark.parametrize(("tokens", "nanos"), [(1, 0), (2, 1), (3, 2), (5, 2), (6, 3)])
    def test_half_a_nano_goes_to_the_even_one(self, tokens, nanos):
        half = Rates(model="m", by_unit={UsageClass.INPUT: Rate(FEMTOS_PER_NANO // 2), UsageClass.OUTPUT: FREE})
        assert cost_nanos(half, Usage(input_tokens=tokens)) == nanos

    def test_no_cost_is_beyond_what_a_counter_takes(self):
        assert cost_nanos(ONE_EACH, Usage(input_tokens=10**30)) == MAX_NANOS
        assert estimate_nanos(ONE_EACH, Usage(input_tokens=10**30)) == MAX_NANOS

    @given(
        st.builds(Usage, **dict.fromkeys(Usage.__struct_fields__, st.integers(0, 3))),
        st.dictionaries(st.sampled_from(list(UsageClass)), st.builds(Rate, st.integers(0, 3 * FEMTOS_PER_NANO))),
    )
    def test_every_token_is_billed_once_and_the_lines_add_up(self, usage, by_unit):
        prices = Rates(model="m", by_unit={UsageClass.INPUT: FREE, UsageClass.OUTPUT: FREE} | by_unit)
        lines = breakdown(prices, usage)
        singly = sum(getattr(usage, name) for name in FIELD_BY_PIECE.values())
        requests = int(UsageClass.REQUEST in by_unit)
        assert sum(line.count for line in lines) == usage.input_tokens + usage.output_tokens + singly + requests
        assert all(line.count > 0 for line in lines)
        assert abs(cost_nanos(prices, usage) * FEMTOS_PER_NANO - sum(line.femtos for line in lines)) * 2 <= (
            FEMTOS_PER_NANO
        )


# The classes of a usage, each by a count of its own; how the totals and parts of a Usage are made of them.
CLASSES = (
    *("plain", "cached", "written", "written_1h", "audio", "cached_audio", "image", "cached_image"),
    *("text", "reasoning", "spoken", "drawn"),
    *FIELD_BY_PIECE.values(),
)
COUNTS = st.fixed_dictionaries({name: st.integers(0, 5) for name in CLASSES})
RATES_BY_UNIT = st.dictionaries(
    st.sampled_from(UsageClass), st.integers(0, 3).map(lambda usd: Rate(usd * FEMTOS_PER_NANO))
)


def usage_of(counts):
    input_classes, output_classes = CLASSES[:8], CLASSES[8:12]
    return Usage(
        input_tokens=sum(counts[name] for name in input_classes),
        output_tokens=sum(counts[name] for name in output_classes),
        cached_input_tokens=counts["cached"] + counts["cached_audio"] + counts["cached_image"],
        cache_write_tokens=counts["written"] + counts["written_1h"],
        cache_write_1h_tokens=counts["written_1h"],
        reasoning_tokens=counts["reasoning"],
        input_audio_tokens=counts["audio"] + counts["cached_audio"],
        cached_audio_tokens=counts["cached_audio"],
        output_audio_tokens=counts["spoken"],
        input_image_tokens=counts["image"] + counts["cached_image"],
        cached_image_tokens=counts["cached_image"],
        output_image_tokens=counts["drawn"],
        **{name: counts[name] for name in CLASSES[12:]},
    )


class TestClasses:
    @given(COUNTS, RATES_BY_UNIT, st.sampled_from(CLASSES), st.integers(1, 5))
    def test_a_bill_never_falls_when_a_count_rises(self, counts, by_unit, name, more):
        of = Rates(model="m", by_unit=by_unit)
        before = cost_nanos(of, usage_of(counts))
        assert 0 <= before <= cost_nanos(of, usage_of(counts | {name: counts[name] + more}))

    @given(COUNTS)
    def test_no_class_is_lost_to_another(self, counts):
        lines = {str(line.unit): line.count for line in breakdown(ONE_EACH, usage_of(counts))}
        expected = (
            {UsageClass.INPUT: "plain", UsageClass.CACHED_INPUT: "cached", UsageClass.CACHE_WRITE: "written"}
            | {
                UsageClass.CACHE_WRITE_1H: "written_1h",
                UsageClass.INPUT_AUDIO: "audio",
                UsageClass.CACHED_AUDIO: "cached_audio",
            }
            | {UsageClass.INPUT_IMAGE: "image", UsageClass.CACHED_IMAGE: "cached_image", UsageClass.OUTPUT: "text"}
            | {UsageClass.REASONING: "reasoning", UsageClass.OUTPUT_AUDIO: "spoken", UsageClass.OUTPUT_IMAGE: "drawn"}
            | FIELD_BY_PIECE
        )
        assert lines == {str(unit): counts[name] for unit, name in expected.items() if counts[name]}


class TestTiers:
    LONG = Rates(
        model="m",
        by_unit={
            UsageClass.INPUT: Rate(1_000_000, ((100, 2_000_000), (200, 4_000_000))),
            UsageClass.CACHED_INPUT: Rate(100_000, ((100, 200_000),)),
            UsageClass.OUTPUT: Rate(10_000_000, ((100, 30_000_000),)),
        },
    )

    @pytest.mark.parametrize(("tokens", "nanos"), [(100, 100), (101, 202), (200, 400), (201, 804), (1000, 4000)])
    def test_the_whole_class_pays_the_rate_of_its_tier(self, tokens, nanos):
        assert cost_nanos(self.LONG, Usage(input_tokens=tokens)) == nanos
        assert estimate_nanos(self.LONG, Usage(input_tokens=tokens)) == nanos

    def test_the_tier_is_chosen_by_all_input_tokens(self):
        usage = Usage(input_tokens=101, cached_input_tokens=100, output_tokens=1)
        assert cost_nanos(self.LONG, usage) == 2 + 20 + 30


class TestEstimate:
    def test_it_is_rounded_up(self):
        assert estimate_nanos(rates(input="0.000001"), Usage(input_tokens=1)) == 1

    def test_output_is_taken_at_the_dearer_of_output_and_reasoning(self):
        assert estimate_nanos(ONE_EACH, Usage(input_tokens=7, output_tokens=5)) == 7_000 + 100_000
        assert estimate_nanos(rates(output=3, reasoning=1), Usage(output_tokens=5)) == 15_000

    def test_input_that_may_be_written_to_a_cache_is_taken_at_the_dearer_of_both(self):
        usage = Usage(input_tokens=7, output_tokens=5)
        written = (UsageClass.CACHE_WRITE,)
        assert estimate_nanos(ONE_EACH, usage, input_may_become=written) == 700_000 + 100_000
        assert estimate_nanos(rates(input=3, cache_write=1), usage, input_may_become=written) == 21_000

    @pytest.mark.parametrize(
        ("unit", "usd_micros"),
        [(UsageClass.OUTPUT, 20), (UsageClass.OUTPUT_AUDIO, 200), (UsageClass.OUTPUT_IMAGE, 700)],
    )
    def test_output_of_other_kinds(self, unit, usd_micros):
        nanos = estimate_nanos(ONE_EACH, Usage(input_tokens=1), output_tokens=5, output_unit=unit)
        assert nanos == 1_000 + 5 * usd_micros * 1_000

    @given(
        st.builds(Usage, **dict.fromkeys(Usage.__struct_fields__, st.integers(0, 3))),
        st.dictionaries(st.sampled_from(list(UsageClass)), st.builds(Rate, st.integers(0, 3 * FEMTOS_PER_NANO))),
    )
    def test_no_estimate_of_a_usage_is_below_its_cost(self, usage, by_unit):
        prices = Rates(model="m", by_unit=by_unit)
        worst_nanos = estimate_nanos(prices, usage, input_may_become=(UsageClass.CACHE_WRITE,))
        assert cost_nanos(prices, usage) <= estimate_nanos(prices, usage) <= worst_nanos


class TestServiceTiers:
    PRICES = Rates(
        model="m",
        by_unit={UsageClass.INPUT: Rate(4_000_000), UsageClass.OUTPUT: Rate(8_000_000)},
        by_mode={"flex": {UsageClass.INPUT: Rate(2_000_000)}},
    )

    @pytest.mark.parametrize(("tier", "nanos"), [(None, 12), ("default", 12), ("flex", 10), ("Flex", 12)])
    def test_a_tier_changes_what_it_prices(self, tier, nanos):
        assert cost_nanos(self.PRICES.in_modes((tier,)), Usage(input_tokens=1, output_tokens=1)) == nanos


class TestModes:
    PRICES = Rates(
        model="m",
        by_unit={
            UsageClass.INPUT: Rate(4_000_000, ((10, 8_000_000),)),
            UsageClass.WEB_SEARCH: Rate(7_000_000),
            UsageClass.OUTPUT: FREE,
        },
        by_mode={"fast": {UsageClass.INPUT: Rate(10_000_000)}, "hd": {UsageClass.WEB_SEARCH: Rate(9_000_000)}},
        basis_points_by_mode={"us": 11_000, "six": 60_000},
    )

    @pytest.mark.parametrize(
        ("modes", "nanos"),
        [
            ((), 4 + 7),
            (("hd",), 4 + 9),
            (("fast", "hd"), 10 + 9),
            # All but the fee.
            (("six",), 24 + 7),
            (("us", "fast"), 11 + 7),
            (("six", "us", "us", None, "?"), 26 + 7),
        ],
    )
    def test_modes_add_up(self, modes, nanos):
        assert cost_nanos(self.PRICES.in_modes(modes), Usage(input_tokens=1, web_searches=1)) == nanos

    def test_a_mode_multiplies_the_tiers_of_long_inputs_too(self):
        assert cost_nanos(self.PRICES.in_modes(("six",)), Usage(input_tokens=11)) == 11 * 6 * 8

    def test_a_combination_is_made_once_and_names_of_clients_are_not_kept(self):
        prices = Rates(model="m", by_unit={UsageClass.INPUT: FREE}, by_mode={"hd": {UsageClass.INPUT: FREE}})
        assert prices.in_modes(("hd",)) is prices.in_modes(("x", "hd"))
        assert prices.in_modes(("x", "y")) is prices


class TestDiscountsOfLongInputs:
    """A list that has a discount, and none for long inputs: half the price of a short one is half that of a long."""

    PRICES = Rates(
        model="m",
        by_unit={UsageClass.INPUT: Rate(4_000_000, ((10, 8_000_000),)), UsageClass.OUTPUT: FREE},
        by_mode={
            "flex": {UsageClass.INPUT: Rate(2_000_000)},
            "batch": {UsageClass.INPUT: Rate(2_000_000, ((10, 3_000_000),))},
            "priority": {UsageClass.INPUT: Rate(9_000_000)},
        },
    )

    @pytest.mark.parametrize(("mode", "nanos"), [(None, 88), ("flex", 44), ("batch", 33), ("priority", 99)])
    def test_a_long_input(self, mode, nanos):
        assert cost_nanos(self.PRICES.in_modes((mode,)), Usage(input_tokens=11)) == nanos


class TestLeastLength:
    @pytest.mark.parametrize(("audio_ms", "nanos"), [(0, 0), (1, 10), (9, 10), (10, 10), (11, 11)])
    def test_a_short_recording_costs_as_much_as_the_least(self, audio_ms, nanos):
        prices = Rates(model="m", by_unit={UsageClass.AUDIO_MS: Rate(1_000_000)}, least_audio_ms=10)
        assert cost_nanos(prices, Usage(audio_ms=audio_ms)) == nanos


class TestUnpricedUses:
    @pytest.mark.parametrize(
        ("priced", "used", "missing"),
        [
            ({}, {}, ()),
            ({}, {"web_searches": 1, "grounded_requests": 1}, (UsageClass.WEB_SEARCH,)),
            ({"grounded_request": 1}, {"web_searches": 1, "grounded_requests": 1}, ()),
            # It has a price in a reading that this usage does not tell.
            ({"web_search": 1}, {"grounded_requests": 1}, (UsageClass.GROUNDED_REQUEST,)),
            ({"web_search": 1}, {"web_searches": 2, "grounded_requests": 1}, ()),
            # It searches with each request.
            ({"request": 1}, {"web_searches": 1}, ()),
            (
                {"code_execution": 1},
                {"code_containers": 1, "code_executions": 2, "file_searches": 1},
                (UsageClass.FILE_SEARCH,),
            ),
            # An own price of 0 is a price.
            ({"file_search": 0}, {"file_searches": 1}, ()),
        ],
    )
    def test_what_was_used_and_has_no_price(self, priced, used, missing):
        assert unpriced_uses(rates(input=1, **priced), Usage(**used)) == missing

    def test_on_a_free_model_nothing_is_missing(self):
        assert unpriced_uses(rates(), Usage(web_searches=1)) == ()


def test_a_longer_request_costs_no_less():
    falling = Rates(model="m", by_unit={UsageClass.INPUT: Rate(3_000_000, ((2, 5_000_000), (4, 1_000_000)))})
    bills = [cost_nanos(falling, Usage(input_tokens=count)) for count in range(7)]
    assert bills == [0, 3, 6, 15, 20, 25, 30]


class TestFree:
    def test_a_model_is_free_if_nothing_of_it_costs(self):
        assert rates().is_free
        assert not rates(cache_write="0.01").is_free
        tier = Rate(0, ((100, 1),))
        assert not Rates(model="m", by_unit={UsageClass.INPUT: tier, UsageClass.OUTPUT: FREE}).is_free


@pytest.mark.parametrize(
    ("max_output_tokens", "context_window", "ceiling"),
    [(None, None, None), (None, 8000, 8000), (4000, 8000, 4000), (4000, None, 4000)],
)
def test_output_ceiling(max_output_tokens, context_window, ceiling):
    model = Rates(model="m", by_unit={}, max_output_tokens=max_output_tokens, context_window=context_window)
    assert model.output_ceiling == ceiling
