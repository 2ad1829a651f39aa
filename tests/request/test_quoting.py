"""What requests are quoted at once answers have been learnt from."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budget_middleware.apis.protocol.base import Ask, DeclaredTool
from budget_middleware.core.costs.estimate import LARGEST_CONTEXT_TOKENS, EstimateBy
from budget_middleware.core.costs.learning import AnswerGroup, Basis, Expectation, answer_seen
from budget_middleware.core.costs.pricing import Rate, Rates, Usage, UsageClass
from budget_middleware.core.money import MAX_NANOS
from budget_middleware.ledger import Ledger
from budget_middleware.prices import PriceBook, UnknownModel
from budget_middleware.request.quotes.quote import OutputEstimate, Quote, quote_for
from budget_middleware.request.quotes.quoting import Quoting, learned_quote
from budget_middleware.stores.memory.store import MemoryStore

NANO, TEN = Rate(1_000_000), Rate(10_000_000)
RATES = Rates(model="m", by_unit={UsageClass.INPUT: NANO, UsageClass.OUTPUT: TEN})
FREE = Rates(model="m", by_unit={UsageClass.INPUT: Rate(0), UsageClass.OUTPUT: Rate(0)})
SMALL = Rates(model="m", by_unit=RATES.by_unit, max_output_tokens=900, context_window=2_000)
SPEAKS = Rates(model="m", by_unit={**RATES.by_unit, UsageClass.OUTPUT_AUDIO: Rate(20_000_000)})
GROUP = AnswerGroup("m", "key:a")


def expectation(mean=600.0, spread=200.0, *, ratio=1.0, ratio_spread=0.0, basis=Basis.KEY) -> Expectation:
    return Expectation(mean, spread, 50.0, ratio, ratio_spread, 1_280, basis)


FIGURES = st.floats(0, LARGEST_CONTEXT_TOKENS)


def ask(**fields) -> Ask:
    return Ask(model="m", input=Usage(input_tokens=100), **fields)


def quoted(expected: Expectation, rates: Rates = RATES, *, spreads: float = 2, **fields) -> Quote:
    return learned_quote(ask(**fields), rates, expected, spreads=spreads, group=GROUP)


class TestAmounts:
    """An input token costs a nano-dollar here, an output token ten."""

    def test_what_is_held_is_the_mean_and_two_spreads_and_what_is_expected_is_the_mean(self):
        quote = quoted(expectation())
        assert quote.estimate_nanos == 100 + 10 * (600 + 2 * 200)
        assert quote.expected_nanos == 100 + 10 * 600
        assert quote.output == OutputEstimate("key", 1_000, 600, 1_280)

    def test_never_more_than_the_maximum_that_is_asked_for(self):
        quote = quoted(expectation(), max_output_tokens=256)
        assert quote.estimate_nanos == quote.expected_nanos == 100 + 10 * 256
        assert quote.output == OutputEstimate("asked", 256, 256, 1_280)

    def test_never_more_than_the_model_writes(self):
        quote = quoted(expectation(mean=10**6), SMALL)
        assert quote.estimate_nanos == 100 + 10 * 900

    def test_the_choices_of_a_request_are_alike(self):
        quote = quoted(expectation(), choices=3)
        assert quote.estimate_nanos == 100 + 3 * 10 * (600 + 2 * 200)

    def test_an_input_is_held_by_what_inputs_cost(self):
        quote = quoted(expectation(spread=0, ratio=1.25))
        assert (quote.estimate_nanos, quote.expected_nanos) == (125 + 6_000, 125 + 6_000)
        # Of a spread of both, only what the input adds: 3-4-5.
        wide = quoted(expectation(spread=3, ratio_spread=0.4), spreads=1)
        assert wide.estimate_nanos == 100 + 10 * 603 + (50 - 30)

    def test_an_input_is_never_held_at_more_than_the_model_takes(self):
        """Also where one usage has lied by a thousand times."""
        quote = quoted(expectation(spread=0, ratio=30, ratio_spread=1_000), SMALL)
        assert quote.estimate_nanos == 100 + 2_000 + 10 * 600
        assert quoted(expectation(spread=0, ratio=1.9), SMALL).estimate_nanos == 190 + 10 * 600

    def test_tools_are_held_as_they_are_expected_to_be_used(self):
        rates = Rates(model="m", by_unit={**RATES.by_unit, UsageClass.WEB_SEARCH: Rate(10**9)})
        tools = (DeclaredTool(UsageClass.WEB_SEARCH, expected=2, at_worst=9),)
        assert quoted(expectation(), rates, tools=tools).estimate_nanos == 100 + 2_000 + 10_000

    def test_a_dearer_tier_is_held_at_once_and_a_cheaper_one_once_it_is_told(self):
        rates = Rates(model="m", by_unit=RATES.by_unit, basis_points_by_mode={"priority": 20_000, "flex": 5_000})
        standard = quoted(expectation(), rates)
        assert quoted(expectation(), rates, service_tier="priority").estimate_nanos == 2 * standard.estimate_nanos
        assert quoted(expectation(), rates, service_tier="flex").estimate_nanos == standard.estimate_nanos

    def test_only_a_free_model_is_estimated_at_nothing(self):
        assert quoted(expectation(), FREE).estimate_nanos == 0
        cheap = Rates(model="m", by_unit={UsageClass.INPUT: Rate(0), UsageClass.OUTPUT: Rate(0), UsageClass.IMAGE: TEN})
        assert quoted(expectation(), cheap).estimate_nanos == 1

    @given(
        st.builds(expectation, FIGURES, FIGURES, ratio=FIGURES, ratio_spread=FIGURES),
        st.floats(0, 10),
        st.one_of(st.none(), st.integers(1, 10**12)),
        st.sampled_from([RATES, SMALL]),
    )
    def test_whatever_was_learnt_an_amount_comes_of_it(self, expected, spreads, most, rates):
        quote = quoted(expected, rates, spreads=spreads, max_output_tokens=most, choices=2)
        assert 1 <= quote.expected_nanos <= quote.estimate_nanos <= MAX_NANOS
        assert {type(quote.estimate_nanos), type(quote.expected_nanos)} == {int}
        assert quote.growth is not None
        assert quote.growth.nanos_of(quote.growth.held_tokens) <= quote.estimate_nanos
        assert quote.growth.held_tokens <= quote.growth.cap_tokens


def test_a_plan_grows_the_output_and_keeps_what_is_held_for_the_input():
    growth = quoted(expectation(ratio=1.25), max_output_tokens=4_000, choices=2).growth
    assert growth is not None
    assert (growth.held_tokens, growth.cap_tokens, growth.tokens_per_s) == (2_000, 8_000, 100.0)
    assert growth.nanos_of(2_000) == 125 + 20_000
    assert growth.nanos_of(8_000) == 125 + 80_000


def quoting(rates: Rates | None = RATES, *, by=EstimateBy.LEARNED) -> tuple[Quoting, Ledger]:
    ledger = Ledger(MemoryStore())
    prices = PriceBook({"m": rates} if rates else {}, unknown=UnknownModel(None))
    return Quoting(prices, ledger.learner, by=by, spreads=2.0, default_output_tokens=1_024), ledger


def output_of(maker: Quoting, request: Ask, account: str = "key:a") -> OutputEstimate:
    output = maker.quote(request, account=account).output
    assert output is not None
    return output


class TestBases:
    def test_before_any_answer_by_the_default(self):
        assert output_of(quoting()[0], ask()) == OutputEstimate("prior", 3 * 1_024, 1_024)

    def test_before_any_answer_by_what_the_prices_say_of_the_model(self):
        rates = Rates(model="m", by_unit=RATES.by_unit, expected_output_tokens=10)
        assert output_of(quoting(rates)[0], ask()) == OutputEstimate("prior", 30, 10)

    @pytest.mark.parametrize(("budget", "mean"), [(2_000, 2_000), (100_000, 4_096)])
    def test_before_any_answer_by_the_thoughts_that_are_asked_for(self, budget, mean):
        maker, ledger = quoting()
        assert output_of(maker, ask(thinking_tokens=budget)) == OutputEstimate("prior", 3 * mean, mean)
        for _ in range(5):
            self.learn(ledger, 100)
        learnt = output_of(maker, ask(thinking_tokens=budget))
        assert learnt == output_of(maker, ask())

    def test_then_by_the_model_and_by_the_key(self):
        maker, ledger = quoting()
        for _ in range(200):
            self.learn(ledger, 100)
        by_key, by_model = output_of(maker, ask()), output_of(maker, ask(), account="key:b")
        assert (by_key.by, by_model.by) == ("key", "model")
        assert by_key.mean_tokens < by_model.mean_tokens < 200
        # So many weigh as 187; some are not folded in yet.
        assert 170 < by_key.answers <= by_model.answers <= 187

    @staticmethod
    def learn(ledger: Ledger, tokens: int) -> None:
        seen = answer_seen(tokens=tokens, seconds=1, estimated=100, billed=100)
        assert seen is not None
        ledger.learner.add(GROUP, seen)


FIXED = {
    "an API's own rule": (ask(expected_output_tokens=7), RATES),
    "output of another price": (ask(output_unit=UsageClass.OUTPUT_AUDIO), SPEAKS),
    "a bill that is never seen": (ask(is_unseen=True), RATES),
    "no output": (ask(max_output_tokens=0), RATES),
    "no price": (ask(), None),
}


@pytest.mark.parametrize("case", FIXED)
def test_what_cannot_be_learnt_is_quoted_by_the_fixed_rule(case):
    request, rates = FIXED[case]
    quote = quoting(rates)[0].quote(request, account="key:a")
    fixed = quote_for(request, quote.rates, default_output_tokens=1_024, by=EstimateBy.EXPECTED, moment=quote.moment)
    assert (quote.rates is None, quote) == (rates is None, fixed)
    assert (quote.group, quote.growth) == (None, None)
    assert quote.expected_nanos == quote.estimate_nanos


@pytest.mark.parametrize("by", [EstimateBy.EXPECTED, EstimateBy.WORST])
def test_the_other_rules_are_as_they_were(by):
    quote = quoting(by=by)[0].quote(ask(), account="key:a")
    assert quote.rates is not None
    assert quote == quote_for(ask(), quote.rates, default_output_tokens=1_024, by=by, moment=quote.moment)
    assert quote.growth is None
