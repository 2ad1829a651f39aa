"""From the names that gateways write to the price of the provider that serves them."""

import time

import pytest

from budget_middleware.core.costs.pricing import UsageClass
from budget_middleware.core.money import nanos_from_usd
from budget_middleware.prices import PriceBook, UnknownModel, load_prices, parse_unknown_model
from budget_middleware.prices.spelling import as_answered, is_same_model

# At night DeepSeek asks half.
_NOON_S = time.time() // 86_400 * 86_400 + 43_200
BOOK = PriceBook({}, unknown=UnknownModel(None), clock=lambda: _NOON_S)

# kind -> name: (provider, USD per million of input, of output). What is not sold by tokens: None.
NAMES: dict[str, dict[str, tuple[str, str | None, str | None]]] = {
    "bare": {
        "text-embedding-3-small": ("openai", "0.02", None),
        "text-embedding-3-large": ("openai", "0.13", None),
        "text-embedding-ada-002": ("openai", "0.1", None),
        "gpt-4o": ("openai", "2.5", "10"),
        "GPT-4o": ("openai", "2.5", "10"),
        "chatgpt-4o-latest": ("openai", "5", "15"),
        "o1": ("openai", "15", "60"),
        "whisper-1": ("openai", None, None),
        "tts-1": ("openai", None, None),
        "claude-opus-4-1": ("anthropic", "15", "75"),
        "gemini-2.5-flash": ("google", "0.3", "2.5"),
        "imagen-4.0-generate-001": ("google", None, None),
        "grok-3-mini": ("x-ai", "0.3", "0.5"),
        "sonar-reasoning-pro": ("perplexity", "2", "8"),
        "deepseek-chat": ("deepseek", "0.27", "1.1"),
        "codestral-latest": ("mistral", "0.3", "0.9"),
        "command-r-08-2024": ("cohere", "0.15", "0.6"),
        "embed-multilingual-v3.0": ("cohere", "0.1", None),
        "voyage-3.5-lite": ("voyageai", "0.02", None),
        "rerank-2.5-lite": ("voyageai", "0.02", None),
        "kimi-k2-thinking": ("moonshotai", "0.6", "2.5"),
        "glm-5": ("zai", "1", "3.2"),
        "qwen-plus": ("dashscope", "0.4", "1.2"),
    },
    "prefix": {
        "openai/gpt-4.1-mini": ("openai", "0.4", "1.6"),
        "azure/gpt-4o": ("azure", "2.5", "10"),
        "azure_ai/gpt-4o-mini": ("azure", "0.15", "0.6"),
        "anthropic/claude-opus-4.5": ("anthropic", "5", "25"),
        "groq/llama-3.3-70b-versatile": ("groq", "0.59", "0.79"),
        "xai/grok-3": ("x-ai", "3", "15"),
        "gemini/gemini-2.5-pro": ("google", "1.25", "10"),
        "models/gemini-2.5-flash": ("google", "0.3", "2.5"),
        "vertex_ai/gemini-2.5-pro": ("google", "1.25", "10"),
        "voyage/voyage-3.5": ("voyageai", "0.06", None),
        "z-ai/glm-4.5-air": ("zai", "0.2", "1.1"),
        "moonshot/kimi-k2-thinking": ("moonshotai", "0.6", "2.5"),
        "mistralai/mistral-small-latest": ("mistral", "0.15", "0.6"),
        "openrouter/openai/gpt-4o-mini": ("openrouter", "0.15", "0.6"),
        "litellm_proxy/gpt-4o": ("openai", "2.5", "10"),
        "litellm_proxy/azure/gpt-4o": ("azure", "2.5", "10"),
    },
    "region": {
        "azure/eu/gpt-4o-2024-08-06": ("azure", "2.75", "11"),
        "azure/us/gpt-4o-mini": ("azure", "0.165", "0.66"),
        "azure/global/gpt-4o-2024-08-06": ("azure", "2.5", "10"),
        "azure/global-standard/gpt-4o": ("azure", "2.5", "10"),
        "us.anthropic.claude-opus-4-5-20251101-v1:0": ("aws", "5.5", "27.5"),
        "global.anthropic.claude-opus-4-5-20251101-v1:0": ("aws", "5", "25"),
        "bedrock/eu.anthropic.claude-haiku-4-5-20251001-v1:0": ("aws", "1.1", "5.5"),
        "bedrock/converse/us.anthropic.claude-sonnet-4-5-20250929-v1:0": ("aws", "3.3", "16.5"),
        "bedrock/eu-central-1/anthropic.claude-sonnet-4-5-20250929-v1:0": ("aws", "3.3", "16.5"),
        "eu.anthropic.claude-3-5-sonnet-20240620-v1:0": ("aws", "3", "15"),
        "us.amazon.nova-lite-v1:0": ("aws", "0.06", "0.24"),
        "eu.amazon.nova-lite-v1:0": ("aws", "0.0792", "0.3168"),
        "us-gov.amazon.nova-pro-v1:0": ("aws", "0.96", "3.84"),
        "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-sonnet-4-5-20250929-v1:0": (
            "aws",
            "3.3",
            "16.5",
        ),
        "publishers/google/models/gemini-2.5-pro": ("google", "1.25", "10"),
        "projects/p/locations/global/publishers/anthropic/models/claude-sonnet-4-5@20250929": ("google", "3", "15"),
        "projects/p/locations/europe-west1/publishers/anthropic/models/claude-sonnet-4-5@20250929": (
            "google",
            "3.3",
            "16.5",
        ),
    },
    "version": {
        "gpt-4o-2024-08-06": ("openai", "2.5", "10"),
        "gpt-4o-2024-05-13": ("openai", "5", "15"),
        "gpt-5-nano-20250807": ("openai", "0.05", "0.4"),
        "claude-haiku-4-5-20251001": ("anthropic", "1", "5"),
        "claude-haiku-4-5-latest": ("anthropic", "1", "5"),
        "claude-haiku-4-5@20251001": ("google", "1", "5"),
        "vertex_ai/claude-haiku-4-5@default": ("google", "1", "5"),
        "mistral-large-latest": ("mistral", "2", "6"),
        "voyage-3-large": ("voyageai", "0.18", None),
    },
    "fine-tuned": {
        "ft:gpt-4o-2024-08-06:acme::x": ("openai", "3.75", "15"),
        "ft:gpt-4o-mini-2024-07-18:acme:name:x": ("openai", "0.3", "1.2"),
        "openai/ft:gpt-4.1-2025-04-14:acme::x": ("openai", "3", "12"),
        "ft:gpt-4.1-nano-2025-04-14:acme::x": ("openai", "0.2", "0.8"),
        "ft:o4-mini-2025-04-16:acme::x": ("openai", "4", "16"),
        "ft:gpt-3.5-turbo-0125:acme::x": ("openai", "3", "6"),
    },
    "free": {
        "openrouter/deepseek/deepseek-r1:free": ("openrouter", "0", "0"),
        "deepseek/deepseek-r1:free": ("openrouter", "0", "0"),
    },
    "open weights at a host": {
        "groq/openai/gpt-oss-120b": ("groq", "0.15", "0.6"),
        # Azure's own price, where the book would pass on that of the maker.
        "azure_ai/deepseek-r1": ("azure", "1.35", "5.4"),
        "azure_ai/gpt-oss-120b": ("azure", "0.15", "0.6"),
        "cerebras/gpt-oss-120b": ("cerebras", "0.35", "0.75"),
        "together_ai/meta-llama/Llama-3.3-70B-Instruct-Turbo": ("together", "0.88", "0.88"),
        "together/deepseek-ai/DeepSeek-R1": ("huggingface_together", "3", "7"),
        "fireworks_ai/deepseek-v3p2": ("fireworks", "0.56", "1.68"),
        "accounts/fireworks/models/deepseek-v3": ("fireworks", "0.9", "0.9"),
        "huggingface/novita/deepseek-ai/DeepSeek-V3": ("huggingface_novita", "0.4", "1.3"),
        "cloudflare/@cf/openai/gpt-oss-120b": ("cloudflare", "0.35", "0.75"),
        "groq/qwen/qwen3-32b-fp8": ("groq", "0.29", "0.59"),
        # No host is named: the dearest that lists it.
        "gpt-oss-120b": ("cerebras", "0.35", "0.75"),
        "openai/gpt-oss-120b": ("cloudflare huggingface_cerebras", "0.35", "0.75"),
        "llama-3.1-8b-instant": ("groq", "0.05", "0.08"),
        "deepseek-ai/DeepSeek-V3": ("huggingface_together", "1.25", "1.25"),
        "moonshotai/Kimi-K2-Instruct": ("groq", "1", "3"),
    },
}
CASES = [
    pytest.param(name, *right, id=f"{kind}: {name}") for kind, named in NAMES.items() for name, right in named.items()
]
# What only may be a model that has a price.
UNRESOLVED = [
    "model-router",
    "azure/model-router",
    "openrouter/auto",
    "ollama/llama3.3",
    "hosted_vllm/gpt-4o",
    "hosted_vllm/openai/gpt-oss-120b",
    "openai_like/claude-sonnet-4-5",
    "gpt-4o-super",
    "gpt-4o-mini-0901",
    "gpt-4o:free",
    "nobody/nothing:free",
    "openrouter/nobody/nothing:free",
    "ft:gpt-99:acme::x",
    "ft:claude-haiku:acme::x",
    "nobody/gpt-4o",
    "azure/my-deployment",
    # Another seller's price is not Azure's.
    "azure_ai/deepseek-v99",
    "azure_ai/gpt-oss-20b",
    "prod-chat",
    "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123",
    "tunedModels/mine",
    "claude",
    "text-embedding-3",
    "/",
    "litellm_proxy/",
]


def usd_of(rates, unit):
    return nanos_from_usd(0) if unit not in rates.by_unit else rates.by_unit[unit].nanos_per_million


@pytest.mark.parametrize(("name", "provider", "usd_in", "usd_out"), CASES)
def test_a_name_costs_what_its_provider_asks(name, provider, usd_in, usd_out):
    rates = BOOK.resolve(name)
    assert rates is not None
    assert rates.provider in provider.split()
    for unit, usd in ((UsageClass.INPUT, usd_in), (UsageClass.OUTPUT, usd_out)):
        assert usd_of(rates, unit) == nanos_from_usd(usd or 0)


def test_the_share_of_names_that_are_resolved():
    names = [name for named in NAMES.values() for name in named]
    missed = [name for name in names if BOOK.resolve(name) is None]
    print(f"{len(names) - len(missed)} of {len(names)} names have a price; without: {missed}")
    assert len(missed) <= len(names) * 0.02


@pytest.mark.parametrize("name", UNRESOLVED)
def test_what_only_may_be_a_model_has_no_price(name):
    assert BOOK.resolve(name) is None
    assert BOOK.find(name) is None


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("azure/eu/gpt-4o", "the prefix azure/; region eu +10 %"),
        ("gpt-oss-20b", "no host is named: the most expensive seller"),
        ("anthropic/claude-opus-4.5", "the prefix anthropic/"),
        ("claude-opus-5-5-2030-01-01", "a name of anthropic; without its date"),
    ],
)
def test_the_rule_is_told(name, rule):
    found = BOOK.find(name)
    assert found is not None
    assert found.rule.startswith(rule)
    assert found.source == "genai-prices"


@pytest.mark.parametrize(
    ("asked", "answered", "same"),
    [
        ("bedrock/us.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5-20250929", True),
        ("bedrock/us.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4.5", True),
        ("groq/openai/gpt-oss-120b", "openai/gpt-oss-120b", True),
        ("models/gemini-2.5-pro", "gemini-2.5-pro", True),
        ("ft:gpt-4o-mini-2024-07-18:acme::x", "gpt-4o-mini-2024-07-18", True),
        # A version may cost something else than the name without it.
        ("gpt-4o", "gpt-4o-2024-05-13", False),
        ("gpt-4o", "gpt-4o-mini", False),
        ("openrouter/deepseek/deepseek-r1:free", "deepseek/deepseek-r1", False),
    ],
)
def test_whether_an_answer_names_what_was_asked(asked, answered, same):
    assert is_same_model(asked, answered) is same


def test_a_version_stays_where_it_was_asked():
    assert as_answered("azure/eu/gpt-4o", "gpt-4o-2024-08-06") == "azure/eu/gpt-4o-2024-08-06"
    assert as_answered("azure/eu/gpt-4o", "gpt-4o-mini") == "gpt-4o-mini"
    asked, name = "bedrock/global.anthropic.claude-opus-5-5", "claude-opus-5-5-20260901"
    assert as_answered(asked, name) == "bedrock/global.anthropic.claude-opus-5-5-20260901"
    assert as_answered("gpt-4o", "gpt-4o-2024-08-06") == "gpt-4o-2024-08-06"


@pytest.mark.parametrize(("setting", "usd"), [("free", "0"), ("5/6", "5"), ("reject", "0.35")])
def test_without_a_host_what_the_operator_says_of_unknown_models_counts(setting, usd):
    """It may be a server of one's own, such as vLLM, whose models are named so."""
    rates = PriceBook({}, unknown=parse_unknown_model(setting)).resolve("openai/gpt-oss-120b")
    assert rates is not None
    assert usd_of(rates, UsageClass.INPUT) == nanos_from_usd(usd)


def answered(book, asked, name, *, is_only_name=True):
    found = book.resolve_answer(name, asked=asked, provider="", moment=book.moment, is_only_name=is_only_name)
    return found[0] if found else None


class TestAnswers:
    """What was asked is told by None."""

    def test_a_server_of_ones_own_costs_nothing_that_others_ask(self):
        assert answered(BOOK, "hosted_vllm/openai/gpt-oss-120b", "openai/gpt-oss-120b") is None
        # A gateway fell back to a provider.
        fallback = answered(BOOK, "hosted_vllm/openai/gpt-oss-120b", "claude-haiku-4-5-20251001")
        assert fallback is not None
        assert fallback.provider == "anthropic"

    def test_an_own_price_for_the_asked_name_counts(self, tmp_path):
        path = tmp_path / "prices.toml"
        path.write_text("[models.prod-chat]\ninput = 1\noutput = 2\n[models.backup]\ninput = 5\noutput = 6\n")
        own = PriceBook(load_prices(path), unknown=UnknownModel(None))
        assert answered(own, "prod-chat", "gpt-4o-2024-08-06") is None
        backup = answered(own, "prod-chat", "backup")
        assert backup is not None
        assert backup.model == "backup"
        # Of several names nobody knows which was served.
        other = answered(own, "prod-chat", "gpt-4o-2024-08-06", is_only_name=False)
        assert other is not None
        assert other.model == "gpt-4o"

    @pytest.mark.parametrize(
        ("asked", "name", "provider", "usd"),
        [
            ("groq/llama-3.3-70b-versatile", "openai/gpt-oss-20b", "groq", "0.075"),
            ("azure/eu/gpt-4o", "gpt-4o-2024-08-06", "azure", "2.75"),
            ("azure/gpt-4o", "gpt-4o-mini-2024-07-18", "azure", "0.15"),
            ("groq/llama-3.3-70b-versatile", "claude-haiku-4-5-20251001", "anthropic", "1"),
            ("gpt-4o", "gpt-4o-2024-05-13", "openai", "5"),
            ("bedrock/global.anthropic.claude-opus-5-5", "claude-opus-5-5-20260901", "aws", "4"),
            ("bedrock/us.anthropic.claude-opus-5-5", "claude-opus-5-5-20260901", "aws", "4.4"),
            ("unpriced", "gpt-4o", "openai", "2.5"),
            # The same model, but what was asked has no price.
            ("my-team/gpt-4o", "gpt-4o", "openai", "2.5"),
            ("hosted_vllm/gpt-4o", "gpt-4o", "openai", "2.5"),
        ],
    )
    def test_the_provider_that_was_asked_stays(self, asked, name, provider, usd):
        rates = answered(BOOK, asked, name)
        assert rates is not None
        assert (rates.provider, usd_of(rates, UsageClass.INPUT)) == (provider, nanos_from_usd(usd))
