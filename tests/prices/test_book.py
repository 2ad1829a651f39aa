"""The price book: names to rates, own files, unknown models."""

import json
from datetime import UTC, datetime
from decimal import Decimal

import genai_prices
import pytest
from genai_prices.data_snapshot import DataSnapshot, get_snapshot, set_custom_snapshot
from genai_prices.types import ClauseStartsWith, ModelInfo, ModelPrice, Provider, Tier, TieredPrices
from hypothesis import given
from hypothesis import strategies as st

from budget_middleware.core.costs.pricing import FREE, Rate, Rates, Usage, UsageClass, cost_nanos
from budget_middleware.core.money import nanos_from_usd
from budget_middleware.prices import PriceBook, UnknownModel, load_prices, parse_unknown_model
from budget_middleware.prices.units import MAX_CACHED

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC).timestamp()
REJECT = UnknownModel(None)


def book(own=None, unknown=REJECT, clock=lambda: NOON):
    return PriceBook(own or {}, unknown=unknown, clock=clock)


def flat(model, usd_in, usd_out):
    prices = {UsageClass.INPUT: usd_in, UsageClass.OUTPUT: usd_out}
    return Rates(model=model, by_unit={name: Rate(nanos_from_usd(usd)) for name, usd in prices.items()})


@pytest.fixture
def published():
    """A small list of published prices in place of the bundled one."""

    def model(name, **prices):
        return ModelInfo(id=name, match=ClauseStartsWith(name), prices=ModelPrice(**prices))

    tiered = TieredPrices(base=Decimal(1), tiers=[Tier(start=200, price=Decimal(2))])
    models = [
        model("tiered", input_mtok=tiered, output_mtok=Decimal(3)),
        model("unpriced"),
        model("hourly", audio_hours=Decimal("0.36")),
        model("paged", input_document_kpages=Decimal(1)),
        model("spoken", input_mchars=Decimal(15)),
        model("asked", input_mtok=Decimal(1), output_mtok=Decimal(1), requests_kcount=Decimal(12)),
        model("embedding", input_mtok=Decimal("0.1")),
        model("tiny", input_mtok=Decimal("1e-12"), output_mtok=Decimal(0)),
        model("free", input_mtok=Decimal(0), output_mtok=Decimal(0)),
    ]
    acme = Provider(id="acme", name="Acme", api_pattern="", model_match=ClauseStartsWith(""), models=models)
    set_custom_snapshot(DataSnapshot(providers=[acme], from_auto_update=False))
    yield
    set_custom_snapshot(None)


class TestPublished:
    @pytest.mark.parametrize(
        ("name", "model", "provider"),
        [
            ("gpt-4o", "gpt-4o", "openai"),
            ("GPT-4o", "gpt-4o", "openai"),
            ("gpt-4o-2024-08-06", "gpt-4o", "openai"),
            ("openai/gpt-4o", "gpt-4o", "openai"),
            ("azure/gpt-4o", "gpt-4o", "azure"),
            ("openrouter/openai/gpt-4o", "openai/gpt-4o", "openrouter"),
            ("anthropic/claude-3-5-sonnet-20241022", "claude-3-5-sonnet", "anthropic"),
            ("vertex_ai/gemini-2.0-flash", "gemini-2.0-flash", "google"),
        ],
    )
    def test_names_that_clients_use(self, name, model, provider):
        rates = book().resolve(name)
        assert rates
        assert (rates.model, rates.provider) == (model, provider)

    @pytest.mark.parametrize(
        "name", ["", "/", "//", "gpt-4o/", "nobody/gpt-4o", "hosted_vllm/mine", "\udfff", "gpt-4o" * 1000]
    )
    def test_unknown_names_are_unpriced(self, name):
        assert book().resolve(name) is None

    @given(st.text(st.characters(), max_size=300))
    def test_no_name_raises(self, name):
        book().resolve(name)

    @pytest.mark.parametrize("model", ["gpt-4o", "gpt-4o-mini", "o3", "gpt-5", "claude-3-5-sonnet", "gemini-2.5-pro"])
    @pytest.mark.parametrize("input_tokens", [1_000, 300_000])
    def test_costs_agree_with_the_library(self, model, input_tokens):
        rates = book().resolve(model)
        assert rates
        usage = Usage(input_tokens=input_tokens, cached_input_tokens=300, output_tokens=2_000, reasoning_tokens=700)
        theirs = genai_prices.calc_price(
            genai_prices.Usage(input_tokens=input_tokens, cache_read_tokens=300, output_tokens=2_000),
            model,
            genai_request_timestamp=datetime.fromtimestamp(NOON, UTC),
        )
        assert cost_nanos(rates, usage) == nanos_from_usd(theirs.total_price)

    @pytest.mark.parametrize("tier", ["flex", "priority"])
    def test_service_tiers_agree_with_the_library(self, tier):
        rates = book().resolve("gpt-5.2")
        assert rates
        theirs = genai_prices.calc_price(
            genai_prices.Usage(input_tokens=1_000, cache_read_tokens=300, output_tokens=2_000),
            "gpt-5.2",
            genai_request_timestamp=datetime.fromtimestamp(NOON, UTC),
            price_context={"service_tier": tier},
        )
        usage = Usage(input_tokens=1_000, cached_input_tokens=300, output_tokens=2_000)
        cost = cost_nanos(rates.in_modes((tier,)), usage)
        assert cost == nanos_from_usd(theirs.total_price) != cost_nanos(rates, usage)

    @pytest.mark.parametrize("tier", [None, "default", "standard", "auto", "", "x" * 1000])
    def test_other_service_tiers_cost_the_same(self, tier):
        rates = book().resolve("gpt-5.2")
        assert rates
        assert rates.in_modes((tier,)) is rates

    @pytest.mark.parametrize(
        ("name", "model"),
        [
            ("us.anthropic.claude-3-5-sonnet-20241022-v2:0", "regional.anthropic.claude-3-5-sonnet-20241022-v2:0"),
            ("amazon.nova-pro-v1:0", "amazon.nova-pro-v1:0"),
        ],
    )
    def test_a_name_at_the_provider_that_is_given(self, name, model):
        rates = book().resolve(name, provider="aws")
        assert rates
        assert (rates.model, rates.provider) == (model, "aws")
        assert book().resolve(name) == rates

    def test_every_published_price_is_readable(self):
        prices = book()
        for provider in get_snapshot().providers:
            for model in provider.models:
                prices.resolve(f"{provider.id}/{model.id}")

    def test_tiers_are_kept(self, published):
        rates = book().resolve("tiered")
        assert rates
        assert rates.of(UsageClass.INPUT) == Rate(10**9, ((200, 2 * 10**9),))

    @pytest.mark.parametrize("name", ["unpriced", "paged"])
    def test_f15_no_price_is_not_the_price_0(self, published, name):
        assert book().resolve(name) is None

    @pytest.mark.parametrize(
        ("name", "usage", "usd"),
        [
            ("hourly", Usage(audio_ms=60_000, input_tokens=9_000), "0.006"),
            ("spoken", Usage(characters=1_000, input_tokens=250), "0.015"),
            ("asked", Usage(input_tokens=1_000), "0.013"),
        ],
    )
    def test_prices_that_are_not_for_tokens(self, published, name, usage, usd):
        rates = book().resolve(name)
        assert rates
        assert cost_nanos(rates, usage) == nanos_from_usd(usd)

    def test_f15_the_price_0_is_free(self, published):
        rates = book().resolve("acme/free")
        assert rates
        assert rates.is_free

    def test_rounding_makes_no_model_free(self, published):
        rates = book().resolve("tiny")
        assert rates
        assert not rates.is_free

    def test_what_a_model_does_not_have_costs_nothing(self, published):
        rates = book().resolve("embedding")
        assert rates
        assert rates.of(UsageClass.OUTPUT) == FREE

    def test_a_price_is_looked_up_once_a_minute(self, published):
        now = NOON
        prices = book(clock=lambda: now)
        assert prices.resolve("tiered")
        set_custom_snapshot(DataSnapshot(providers=[], from_auto_update=False))
        now += 59
        assert prices.resolve("tiered")
        now += 1
        assert prices.resolve("tiered") is None

    def test_made_up_names_take_bounded_memory(self):
        prices, snapshot = book(), get_snapshot()
        for n in range(MAX_CACHED + 10):
            prices.resolve(f"made-up-{n}")
        assert prices._known_at.cache_info().currsize == MAX_CACHED
        assert not any("made-up" in str(key) for key in snapshot._provider_misses)


class TestOwn:
    def test_own_prices_win(self):
        own = flat("gpt-4o", "1", "2")
        assert book({"gpt-4o": own}).resolve("gpt-4o") == own

    def test_exact_first_then_in_any_case(self):
        exact, other = flat("Mine", "1", "2"), flat("mine", "3", "4")
        prices = book({"Mine": exact, "mine": other})
        assert prices.resolve("Mine") == exact
        assert prices.resolve("mine") == other
        assert book({"Mine": exact}).resolve("mINE") == exact


class TestUnknownModel:
    def test_reject(self):
        unknown = parse_unknown_model("reject")
        assert unknown.rejects
        assert book(unknown=unknown).resolve("mine") is None

    def test_free(self):
        rates = book(unknown=parse_unknown_model("free")).resolve("mine")
        assert rates
        assert rates.is_free
        assert rates.model == ""

    def test_f27_a_price(self):
        unknown = parse_unknown_model("2.5/10")
        assert not unknown.rejects
        rates = book(unknown=unknown).resolve("x" * 10_000)
        assert rates
        assert cost_nanos(rates, Usage(input_tokens=1000, output_tokens=100)) == nanos_from_usd("0.0035")

    @pytest.mark.parametrize("text", ["", "Reject", "1", "1/", "/1", "1/2/3", "-1/2", "1/nan", "9000001/1", "a/b"])
    def test_anything_else_is_refused_in_one_line(self, text):
        with pytest.raises(ValueError, match=r"accepted is reject, free or IN/OUT") as error:
            parse_unknown_model(text)
        assert "\n" not in str(error.value)


class TestToml:
    def load(self, tmp_path, text):
        path = tmp_path / "prices.toml"
        path.write_text(text, encoding="utf-8")
        return load_prices(path)

    def test_all_fields(self, tmp_path):
        loaded = self.load(
            tmp_path,
            """
            [models."my/model"]
            input = 1
            output = 2.5
            cached_input = 0.1
            cache_write = 1.25
            cache_write_1h = 2
            reasoning = 3
            input_image = 5
            characters = 15
            audio_hour = 0.36
            image = 0.04
            request = 0.005
            input_audio = 40
            cached_audio = 2.5
            output_audio = 80
            max_output_tokens = 4096
            context_window = 128000
            """,
        )
        usd = {
            UsageClass.INPUT: "1",
            UsageClass.OUTPUT: "2.5",
            UsageClass.CACHED_INPUT: "0.1",
            UsageClass.CACHE_WRITE: "1.25",
            UsageClass.REASONING: "3",
            UsageClass.INPUT_AUDIO: "40",
            UsageClass.CACHED_AUDIO: "2.5",
            UsageClass.OUTPUT_AUDIO: "80",
            UsageClass.CACHE_WRITE_1H: "2",
            UsageClass.INPUT_IMAGE: "5",
            UsageClass.CHARACTER: "15",
            UsageClass.AUDIO_MS: "0.1",
            UsageClass.IMAGE: "40000",
            UsageClass.REQUEST: "5000",
        }
        assert loaded == {
            "my/model": Rates(
                model="my/model",
                by_unit={name: Rate(nanos_from_usd(price)) for name, price in usd.items()},
                max_output_tokens=4096,
                context_window=128_000,
            )
        }

    @pytest.mark.parametrize("price", ["characters = 15", "audio_hour = 0.36", "image = 0.04", "rerank_search = 0.002"])
    def test_a_model_that_is_not_sold_by_tokens_needs_no_price_for_them(self, tmp_path, price):
        (rates,) = self.load(tmp_path, f"[models.m]\n{price}").values()
        assert rates.of(UsageClass.INPUT) == FREE
        assert not rates.is_free

    def test_an_empty_file_has_no_prices(self, tmp_path):
        assert self.load(tmp_path, "") == {}

    @pytest.mark.parametrize(
        ("text", "named"),
        [
            ("input = 1", "accepted are tables"),
            ("models = 1", "accepted are tables"),
            ("[models]\nm = 1", "model 'm'"),
            ("[models.m]\ninput = 1", "output"),
            ("[models.m]\noutput = 1", "input"),
            ("[models.m]\ninput = 1\noutput = 1\ninptu = 1", "inptu"),
            ("[models.m]\ninput = -1\noutput = 1", "input is '-1'"),
            ("[models.m]\ninput = nan\noutput = 1", "input is 'NaN'"),
            ("[models.m]\ninput = inf\noutput = 1", "input is 'Infinity'"),
            ("[models.m]\ninput = true\noutput = 1", "input is 'True'"),
            ("[models.m]\ninput = '1'\noutput = 1", "input is '1'"),
            ("[models.m]\ninput = 1\noutput = 9000000.1", "output is '9000000.1'; accepted is a number of 0 to 2000,"),
            ("[models.m]\ninput = 1\noutput = 1e999999", "a number of 0 to 2000,"),
            ("[models.m]\nimage = 10.1", "image is '10.1'; accepted is a number of 0 to 2, in USD per 1"),
            ("[models.m]\nrequest = 1", "output"),
            ("[models.m]\ninput = 1\noutput = 1\nmax_output_tokens = 0", "max_output_tokens is '0'"),
            ("[models.m]\ninput = 1\noutput = 1\nmax_output_tokens = 1.5", "max_output_tokens is '1.5'"),
            ("[models.m]\ninput = 1\noutput = 1\ncontext_window = 1e999999", "context_window"),
            ("[models.m", "end of document"),
            (
                "[models.Mine]\ninput = 1\noutput = 1\n[models.mine]\ninput = 2\noutput = 1",
                "models 'Mine' (line 1) and 'mine' (line 4) are one name with two prices",
            ),
            ("x = " + "[" * 100_000, "prices.toml"),
        ],
    )
    def test_mistakes_are_named_in_one_line(self, tmp_path, text, named):
        with pytest.raises(ValueError, match=r"prices\.toml: ") as error:
            self.load(tmp_path, text)
        assert named in str(error.value)
        assert "\n" not in str(error.value)

    def test_a_file_that_is_not_there(self, tmp_path):
        with pytest.raises(ValueError, match=r"nothing\.toml: .*No such file"):
            load_prices(tmp_path / "nothing.toml")


class TestPriceMap:
    def load(self, tmp_path, entries):
        path = tmp_path / "prices.json"
        path.write_text(json.dumps(entries), encoding="utf-8")
        return load_prices(path)

    def test_an_entry(self, tmp_path):
        entry = {
            "litellm_provider": "openai",
            "mode": "chat",
            "input_cost_per_token": 2.5e-06,
            "input_cost_per_token_above_200k_tokens": 5e-06,
            "input_cost_per_token_above_128k_tokens": 3e-06,
            "input_cost_per_token_priority": 7e-06,
            "input_cost_per_token_above_200k_tokens_priority": 9e-06,
            "output_cost_per_token_flex": 5e-06,
            "input_cost_per_token_batches": 1e-06,
            "output_cost_per_token": 1e-05,
            "cache_read_input_token_cost": 1.25e-06,
            "cache_creation_input_token_cost": None,
            "output_cost_per_reasoning_token": 2e-05,
            "input_cost_per_audio_token": 4e-05,
            "output_cost_per_audio_token": 8e-05,
            "max_output_tokens": 16384,
            "max_input_tokens": 128000.0,
        }
        usd = {
            UsageClass.CACHED_INPUT: "1.25",
            UsageClass.INPUT_AUDIO: "40",
            UsageClass.OUTPUT: "10",
            UsageClass.REASONING: "20",
            UsageClass.OUTPUT_AUDIO: "80",
        }
        by_unit = {name: Rate(nanos_from_usd(price)) for name, price in usd.items()}
        by_unit[UsageClass.INPUT] = Rate(2_500_000_000, ((128_000, 3_000_000_000), (200_000, 5_000_000_000)))
        assert self.load(tmp_path, {"gpt-4o": entry})["gpt-4o"] == Rates(
            model="gpt-4o",
            provider="openai",
            by_unit=by_unit,
            by_mode={
                "batch": {UsageClass.INPUT: Rate(nanos_from_usd("1"))},
                "flex": {UsageClass.OUTPUT: Rate(nanos_from_usd("5"))},
                "priority": {UsageClass.INPUT: Rate(nanos_from_usd("7"), ((200_000, nanos_from_usd("9")),))},
            },
            max_output_tokens=16_384,
            context_window=128_000,
        )

    def test_entries_that_are_not_for_tokens(self, tmp_path):
        entries = {
            "whisper-1": {"input_cost_per_second": 0.0001, "output_cost_per_second": 0},
            "tts-1": {"input_cost_per_character": 1.5e-05},
            "dall-e-3": {"output_cost_per_image": 0.04},
            "rerank": {"input_cost_per_query": 0.002},
        }
        costs = {
            name: cost_nanos(rates, Usage(audio_ms=60_000, characters=1_000, images=2, rerank_searches=1))
            for name, rates in self.load(tmp_path, entries).items()
        }
        assert costs == {
            "whisper-1": nanos_from_usd("0.006"),
            "tts-1": nanos_from_usd("0.015"),
            "dall-e-3": nanos_from_usd("0.08"),
            "rerank": nanos_from_usd("0.002"),
        }

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ('{"m": {"input_cost_per_token": 1e-6}, "m": {"input_cost_per_token": 2e-6}}', "'m' is given twice, as "),
            ('{"m": {"input_cost_per_token": 1e-6, "input_cost_per_token": 2e-6}}', "as 0.000001 and as 0.000002"),
            (
                '{"m": {"input_cost_per_query": 1}, "M": {"input_cost_per_query": 2}}',
                "models 'm' (line 1) and 'M' (line 1) are one name",
            ),
            ('{"m": [1]}', "model 'm': its value is '[1]'; accepted is an object of prices"),
        ],
    )
    def test_two_prices_for_one_name_are_both_named(self, tmp_path, text, told):
        path = tmp_path / "prices.json"
        path.write_text(text)
        with pytest.raises(ValueError, match=r"prices\.json: ") as error:
            load_prices(path)
        assert told in str(error.value)
        assert "\n" not in str(error.value)

    def test_entries_that_price_nothing_known_are_left_out(self, tmp_path):
        entries = {
            "sample_spec": {"input_cost_per_token": "text"},
            "ocr": {"ocr_cost_per_page": 0.001},
            "half": {"input_cost_per_token": 1e-06},
            "free": {"input_cost_per_token": 0, "output_cost_per_token": 0.0},
        }
        assert list(self.load(tmp_path, entries)) == ["free"]

    @pytest.mark.parametrize(
        ("entry", "named"),
        [
            (1, "an object of prices"),
            ({"input_cost_per_token": -1e-06}, "input_cost_per_token"),
            ({"input_cost_per_token": float("nan")}, "input_cost_per_token"),
            ({"input_cost_per_token": "0.1"}, "input_cost_per_token"),
            ({"input_cost_per_token": 9.1}, "a number of 0 to 0.002, in USD per 1"),
            ({"input_cost_per_token": 0, "output_cost_per_token": True}, "output_cost_per_token"),
            ({"input_cost_per_token": 0, "input_cost_per_token_above_200k_tokens": "x"}, "above_200k"),
            (
                {"input_cost_per_token": 0, "output_cost_per_token": 0, "max_output_tokens": "many"},
                "max_output_tokens",
            ),
        ],
    )
    def test_mistakes_are_named_in_one_line(self, tmp_path, entry, named):
        with pytest.raises(ValueError, match=r"prices\.json: model 'm'") as error:
            self.load(tmp_path, {"m": entry})
        assert named in str(error.value)
        assert "\n" not in str(error.value)
