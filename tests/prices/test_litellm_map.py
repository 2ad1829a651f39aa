"""LiteLLM's own map as a source of prices."""

import json
import sys
from types import ModuleType

import pytest

from budget_middleware.core.costs.pricing import Rate, UsageClass
from budget_middleware.core.money import nanos_from_usd
from budget_middleware.opening import price_book
from budget_middleware.prices import PriceBook, PriceMap, UnknownModel, imported_map, installed_map
from budget_middleware.settings_loading import load


def entry(provider, usd_in, usd_out, **fields):
    per_token = {"input_cost_per_token": usd_in / 1e6, "output_cost_per_token": usd_out / 1e6}
    return {"litellm_provider": provider, "mode": "chat", **per_token, **fields}


MAP = {
    "sample_spec": {"litellm_provider": "one of"},
    "gpt-4o": entry("openai", 2.6, 10.4),
    "azure/eu/gpt-4o-2024-08-06": entry("azure", 2.8, 11.2),
    "eu.amazon.nova-pro-v1:0": entry("bedrock_converse", 1.05, 4.2),
    "amazon.nova-pro-v1:0": entry("bedrock_converse", 0.8, 3.2),
    "bedrock/eu-west-2/amazon.nova-pro-v1:0": entry("bedrock", 1.25, 5),
    "vertex_ai/claude-sonnet-4-5": entry("vertex_ai-anthropic_models", 3, 15),
    "fireworks_ai/accounts/fireworks/models/new-model": entry("fireworks_ai", 1, 2),
    "deepinfra/acme/llama-9": entry("deepinfra", 1, 2),
    "crusoe/acme/llama-9": entry("crusoe", 3, 4),
    "crusoe/Qwen/Qwen9-8B": entry("crusoe", 3, 4),
    "hyperbolic/qwen/qwen9-8b": entry("hyperbolic", 1, 2),
    "ollama/llama9": entry("ollama", 0, 0),
    "azure/model-router": entry("azure", 0.14, 0),
    "groq/no-price-is-not-0": entry("groq", 0, 0),
    "dashscope/tiered": {
        "litellm_provider": "dashscope",
        "mode": "chat",
        "tiered_pricing": [
            {"input_cost_per_token": 5e-08, "output_cost_per_token": 4e-07, "range": [0, 256_000.0]},
            {"input_cost_per_token": 2.5e-07, "output_cost_per_token": 2e-06, "range": [256_000.0, 1_000_000.0]},
        ],
    },
    "groq/broken": entry("groq", -1, 1),
    "groq/embedder": entry("groq", 1, 0, mode="embedding"),
    "claude-thinks": entry("anthropic", 3, 15),
    "gpt-5-mini": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": "dear"},
    "not an entry": 7,
}


@pytest.fixture
def with_map():
    entries = {name: value for name, value in MAP.items() if isinstance(value, dict)}
    return PriceBook({}, unknown=UnknownModel(None), lists=[PriceMap(entries)])


@pytest.mark.parametrize(
    ("name", "provider", "usd"),
    [
        ("gpt-4o", "openai", "2.6"),
        ("openai/gpt-4o", "openai", "2.6"),
        ("azure/eu/gpt-4o-2024-08-06", "azure", "2.8"),
        ("eu.amazon.nova-pro-v1:0", "aws", "1.05"),
        ("bedrock/eu.amazon.nova-pro-v1:0", "aws", "1.05"),
        ("bedrock/eu-west-2/amazon.nova-pro-v1:0", "aws", "1.25"),
        # No rate of the region's own: the surcharge.
        ("bedrock/ap-south-1/amazon.nova-pro-v1:0", "aws", "1.056"),
        ("bedrock/us-east-1/amazon.nova-pro-v1:0", "aws", "0.8"),
        ("vertex_ai/claude-sonnet-4-5@20250929", "google", "3"),
        ("fireworks_ai/new-model", "fireworks", "1"),
        ("crusoe/qwen/qwen9-8b", "crusoe", "3"),
        # No host is named: the dearest.
        ("qwen/qwen9-8b", "crusoe", "3"),
        ("groq/embedder", "groq", "1"),
        # What it does not have, or what nobody can read, is the built-in book's.
        ("claude-haiku-4-5", "anthropic", "1"),
        ("gpt-5-mini", "openai", "0.25"),
    ],
)
def test_the_map_goes_first(with_map, name, provider, usd):
    rates = with_map.resolve(name)
    assert rates is not None
    assert (rates.provider, rates.of(UsageClass.INPUT).nanos_per_million) == (provider, nanos_from_usd(usd))


@pytest.mark.parametrize(
    "name",
    [
        "ollama/llama9",
        "azure/model-router",
        "groq/no-price-is-not-0",
        "groq/broken",
        "groq/claude-thinks",
        "sample_spec",
    ],
)
def test_what_the_map_does_not_know_stays_unpriced(with_map, name):
    assert with_map.resolve(name) is None


def test_a_later_source_prices_what_the_map_leaves_out_and_names_the_model(with_map):
    found = with_map.find("gpt-4o")
    assert found is not None
    assert (found.rates.model, found.source) == ("gpt-4o", "LiteLLM")
    assert found.source_of(UsageClass.INPUT) == "LiteLLM"
    assert found.source_of(UsageClass.CACHED_INPUT) == "genai-prices"
    assert found.rates.of(UsageClass.CACHED_INPUT).nanos_per_million == nanos_from_usd("1.25")
    # A limit on model:gpt-4o binds its versions with and without LiteLLM.
    versioned = with_map.resolve("azure/eu/gpt-4o-2024-08-06")
    assert versioned is not None
    assert versioned.model == "gpt-4o"


@pytest.fixture
def imported(monkeypatch):
    module = ModuleType("litellm")
    entries = {name: dict(value) for name, value in MAP.items() if isinstance(value, dict)}
    monkeypatch.setattr(module, "model_cost", entries, raising=False)
    monkeypatch.setitem(sys.modules, "litellm", module)
    return module


def test_an_imported_litellm_is_a_source_and_a_change_of_its_map_counts_after_a_restart(imported):
    book = price_book(load())
    imported.model_cost["gpt-4o"]["input_cost_per_token"] = 9e-06
    imported.model_cost["gpt-4o-mini"] = entry("openai", 9, 9)
    rates = book.resolve("gpt-4o")
    assert rates is not None
    assert rates.of(UsageClass.INPUT).nanos_per_million == nanos_from_usd("2.6")
    mini = book.resolve("gpt-4o-mini")
    assert mini is not None
    assert mini.of(UsageClass.INPUT).nanos_per_million == nanos_from_usd("0.15")


def test_it_can_be_left_out(imported):
    rates = price_book(load(litellm_prices="off")).resolve("gpt-4o")
    assert rates is not None
    assert rates.of(UsageClass.INPUT).nanos_per_million == nanos_from_usd("2.5")


def test_the_file_of_an_installed_litellm_is_read_without_importing_it(tmp_path, monkeypatch):
    package = tmp_path / "litellm"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "model_prices_and_context_window_backup.json").write_text(json.dumps(MAP))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "litellm", raising=False)
    assert imported_map() is None
    rates = price_book(load(litellm_prices="installed")).resolve("gpt-4o")
    assert rates is not None
    assert rates.of(UsageClass.INPUT).nanos_per_million == nanos_from_usd("2.6")


@pytest.mark.parametrize("shape", [[], "prices", 7, {1: {}}])
def test_a_map_of_another_shape_is_left_out_and_told(imported, caplog, shape):
    imported.model_cost = shape
    assert imported_map() is None
    assert "unknown shape" in caplog.text
    assert price_book(load()).resolve("gpt-4o") is not None


@pytest.mark.parametrize("text", ["[", "[]", "\x00"])
def test_so_is_a_file_that_cannot_be_read(tmp_path, monkeypatch, caplog, text):
    package = tmp_path / "litellm"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "model_prices_and_context_window_backup.json").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "litellm", raising=False)
    assert installed_map() is None
    assert "price map" in caplog.text


def test_a_table_of_tiers_is_read(with_map):
    rates = with_map.resolve("dashscope/tiered")
    assert rates is not None
    assert rates.of(UsageClass.INPUT) == Rate(nanos_from_usd("0.05"), ((256_000, nanos_from_usd("0.25")),))
    assert rates.of(UsageClass.OUTPUT) == Rate(nanos_from_usd("0.4"), ((256_000, nanos_from_usd("2")),))


@pytest.mark.parametrize("start", [-1, "0", None, True, 1e30])
def test_a_tier_that_begins_nowhere_leaves_the_entry_out(start, caplog):
    tier = {"input_cost_per_token": 1e-06, "output_cost_per_token": 1e-06, "range": [start, 10]}
    book = PriceBook(
        {}, unknown=UnknownModel(None), lists=[PriceMap({"dashscope/odd": {"mode": "chat", "tiered_pricing": [tier]}})]
    )
    assert book.resolve("dashscope/odd") is None
    assert "the range in tiered_pricing" in caplog.text
