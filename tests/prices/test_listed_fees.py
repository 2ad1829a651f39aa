"""Fees and modes in the lists of prices: the operator's own, LiteLLM's, and what we keep ourselves."""

import json
from typing import ClassVar

import pytest

from budget_middleware.core.costs.pricing import Usage, UsageClass, cost_nanos
from budget_middleware.core.costs.usage import FIELD_OF_TOOL
from budget_middleware.core.money import nanos_from_usd
from budget_middleware.prices import PriceBook, PriceMap, load_prices
from tests.prices.test_book import REJECT, book


class TestFeesAndModes:
    def load(self, tmp_path, text):
        path = tmp_path / "prices"
        path.write_text(text, encoding="utf-8")
        return load_prices(path)

    def test_every_unit_can_be_named_and_is_billed(self, tmp_path):
        fields = "\n".join(f"{unit} = 2" for unit in UsageClass)
        prices = self.load(tmp_path, f"[models.m]\n{fields}\n[models.m.fast]\n{fields}\n")["m"]
        assert prices.by_unit.keys() == prices.by_mode["fast"].keys() == set(UsageClass)
        for unit, name in FIELD_OF_TOOL.items():
            # Beside the fee of the request.
            assert cost_nanos(prices, Usage(**{name: 3})) == nanos_from_usd("8"), unit

    def test_modes_of_the_own_file(self, tmp_path):
        text = """
            [models.m]
            input = 1
            output = 2
            web_search = 0.01
            [models.m.fast]
            times = 6
            [models.m."hd/1024x1792"]
            web_search = 0.5
        """
        prices = self.load(tmp_path, text)["m"]
        used = Usage(input_tokens=1_000_000, web_searches=1)
        costs = [cost_nanos(prices.in_modes((mode,)), used) for mode in (None, "fast", "hd/1024x1792")]
        assert costs == [nanos_from_usd(usd) for usd in ("1.01", "6.01", "1.5")]

    @pytest.mark.parametrize(
        ("line", "told"),
        [
            ("web_search = -1", "web_search is '-1'; accepted is a number of 0 to 2"),
            ("code_container = 1e9", "code_container is '1E+9'; accepted is a number of 0 to 2"),
            ("file_search = nan", "file_search is 'NaN'"),
            ('grounded_request = "a lot"', "grounded_request is 'a lot'"),
            ("searches = 1", "searches is '1'; accepted is one of the fields"),
            ("fast = {inputs = 1}", "fast.inputs is '1'; accepted is one of the fields"),
            ("fast = {input = -1}", "fast.input is '-1'"),
            ("fast = {times = 101}", "fast.times is '101'; accepted is a factor of 0 to 100"),
            ("input_image = {times = 2}", "input_image is"),
            ('"A b" = {times = 2}', "A b is"),
        ],
    )
    def test_mistakes_are_named_in_one_line(self, tmp_path, line, told):
        with pytest.raises(ValueError, match=r"\A[^\n]*\Z") as caught:
            self.load(tmp_path, f"[models.m]\ninput = 1\noutput = 1\n{line}\n")
        assert told in str(caught.value)

    FEES: ClassVar = {
        "search_context_cost_per_query": {
            "search_context_size_low": 0.005,
            "search_context_size_medium": 0.008,
            "search_context_size_high": 0.012,
        },
        "code_interpreter_cost_per_session": 0.03,
        "file_search_cost_per_1k_calls": 2.5,
        "google_maps_grounding_cost_per_query": 0.025,
        "provider_specific_entry": {"fast": 2, "us": 1.1, "realtime_ga_only": 1},
    }

    @pytest.mark.parametrize(
        ("name", "unit"),
        [
            ("gpt-4o", UsageClass.WEB_SEARCH),
            ("gpt-4o-search-preview", UsageClass.REQUEST),
            ("perplexity/sonar-pro", UsageClass.REQUEST),
            ("perplexity/sonar-deep-research", UsageClass.WEB_SEARCH),
            ("vertex_ai/gemini-2.5-pro", UsageClass.GROUNDED_REQUEST),
            ("gemini/gemini-3-flash-preview", UsageClass.WEB_SEARCH),
        ],
    )
    def test_the_fees_of_a_price_map(self, tmp_path, name, unit):
        entry = {"input_cost_per_token": 1e-06, "output_cost_per_token": 1e-06, **self.FEES}
        prices = self.load(tmp_path, json.dumps({name: entry}))[name]
        fees = {
            unit: "0.012",
            UsageClass.CODE_CONTAINER: "0.03",
            UsageClass.FILE_SEARCH: "0.0025",
            UsageClass.MAPS_REQUEST: "0.025",
        }
        for fee, usd in fees.items():
            assert prices.by_unit[fee].nanos_per_million == nanos_from_usd(usd) * 1_000_000
        low = prices.in_modes(("search_low",)).by_unit[unit]
        assert low.nanos_per_million == nanos_from_usd("0.005") * 1_000_000
        assert prices.basis_points_by_mode == {"fast": 20_000, "us": 11_000}

    @pytest.mark.parametrize(
        ("fields", "told"),
        [
            ({"search_context_cost_per_query": {"search_context_size_low": -1}}, "search_context_size_low is '-1'"),
            ({"provider_specific_entry": {"us": -1}}, "us is '-1'"),
            ({"file_search_cost_per_1k_calls": "x"}, "file_search_cost_per_1k_calls is 'x'"),
        ],
    )
    def test_mistakes_of_a_price_map(self, tmp_path, fields, told):
        entry = {"input_cost_per_token": 1e-06, "output_cost_per_token": 1e-06, **fields}
        with pytest.raises(ValueError, match=r"\A[^\n]*\Z") as caught:
            self.load(tmp_path, json.dumps({"m": entry}))
        assert told in str(caught.value)

    def test_images_are_priced_by_the_piece_or_by_tokens(self, tmp_path):
        drawn = {"mode": "image_generation", "input_cost_per_image": 0.02}
        both = {"output_cost_per_image": 0.134, "output_cost_per_image_token": 1e-4}
        text = {"input_cost_per_token": 1e-06, "output_cost_per_token": 1e-06}
        prices = self.load(tmp_path, json.dumps({"xai/grok-imagine": drawn, "both": {**text, **both}}))
        assert cost_nanos(prices["xai/grok-imagine"], Usage(images=2)) == nanos_from_usd("0.04")
        assert cost_nanos(prices["both"], Usage(images=2)) == 0

    @pytest.mark.parametrize(
        ("name", "modes", "usd"),
        [
            ("dall-e-3", ("1024x1024",), "0.04"),
            ("dall-e-3", ("1792x1024", "standard", "standard/1792x1024"), "0.08"),
            ("dall-e-3", ("1024x1024", "hd", "hd/1024x1024"), "0.08"),
            ("dall-e-3", ("1024x1792", "hd", "hd/1024x1792"), "0.12"),
            ("dall-e-2", ("256x256",), "0.016"),
            ("xai/grok-imagine-image", (), "0.02"),
            ("imagen-4.0-ultra-generate-001", (), "0.06"),
        ],
    )
    def test_images_by_size_and_quality(self, name, modes, usd):
        prices = book().resolve(name)
        assert cost_nanos(prices.in_modes(modes), Usage(images=1)) == nanos_from_usd(usd)

    def test_a_mode_of_two_lists_counts_once(self):
        entry = {"litellm_provider": "anthropic", "input_cost_per_token": 4e-06, "output_cost_per_token": 2e-05}
        entries = {"claude-opus-5-5": {**entry, "provider_specific_entry": {"fast": 2, "us": 1.1}}}
        prices = PriceBook({}, unknown=REJECT, lists=[PriceMap(entries)]).resolve("claude-opus-5-5")
        assert prices is not None
        used = Usage(input_tokens=1_000_000)
        # Twice 4, and neither twice 8 nor twice what another list says.
        assert cost_nanos(prices.in_modes(("fast",)), used) == nanos_from_usd("8")
        assert cost_nanos(prices.in_modes(("fast", "us")), used) == nanos_from_usd("8.8")
