"""What daily use asks for and no installed list has: providers' own published prices, the last source of all.

Where another source lists one of these, that one counts; so an entry may go when `genai-prices` has it.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Final

from budget_middleware.core.money import nanos_from_usd
from budget_middleware.core.pricing import Rate, Rates, Unit

_Key = tuple[str, str]
_Tiers = tuple[tuple[int, str], ...]

GAPS: Final = "built-in gaps"
_TEXT: Final = (Unit.INPUT, Unit.CACHED_INPUT, Unit.OUTPUT)
_FIREWORKS: Final = "accounts/fireworks/models/"

# (provider, model) -> USD per million of input, cached input and output.
_TEXT_USD: Final = {
    ("openai", "ft:gpt-4.1"): ("3", "0.75", "12"),
    ("openai", "ft:gpt-4.1-mini"): ("0.8", "0.2", "3.2"),
    ("openai", "ft:gpt-4.1-nano"): ("0.2", "0.05", "0.8"),
    ("openai", "ft:o4-mini"): ("4", "1", "16"),
    ("fireworks", f"{_FIREWORKS}deepseek-r1"): ("3", "3", "8"),
    ("fireworks", f"{_FIREWORKS}deepseek-v3"): ("0.9", "0.9", "0.9"),
    ("fireworks", f"{_FIREWORKS}deepseek-v3p1"): ("0.56", "0.56", "1.68"),
    ("dashscope", "qwen-max"): ("1.6", "0.64", "6.4"),
}
# (provider, model) -> USD per million of input, where that is all that is sold.
_INPUT_USD: Final = {
    ("cohere", "embed-english-v3.0"): "0.1",
    ("cohere", "embed-english-light-v3.0"): "0.1",
    ("cohere", "embed-multilingual-v3.0"): "0.1",
    ("cohere", "embed-multilingual-light-v3.0"): "0.1",
    ("voyageai", "rerank-2"): "0.05",
    ("voyageai", "rerank-2-lite"): "0.02",
    ("voyageai", "rerank-2.5"): "0.05",
    ("voyageai", "rerank-2.5-lite"): "0.02",
}
# The same where it depends on the length of the input: (from so many input tokens, USD).
_TIERED_USD: Final[dict[_Key, dict[Unit, _Tiers]]] = {
    ("dashscope", "qwen3-max"): {
        Unit.INPUT: ((0, "1.2"), (32_000, "2.4"), (128_000, "3")),
        Unit.OUTPUT: ((0, "6"), (32_000, "12"), (128_000, "15")),
    },
    ("dashscope", "qwen-plus"): {
        Unit.INPUT: ((0, "0.4"), (256_000, "1.2")),
        Unit.OUTPUT: ((0, "1.2"), (256_000, "3.6")),
        Unit.REASONING: ((0, "4"), (256_000, "12")),
    },
}
# (provider, model) -> USD per million images.
_IMAGE_USD: Final = {
    ("google", "imagen-4.0-generate-001"): "40000",
    ("google", "imagen-4.0-ultra-generate-001"): "60000",
    ("google", "imagen-4.0-fast-generate-001"): "20000",
}
# (provider, model) -> USD per million milliseconds of sound, or per million searches.
_OTHER_USD: Final = {
    # The name without a version is written by gateways; the version of the day costs 0.003 a minute.
    ("mistral", "voxtral-mini-transcribe"): {Unit.AUDIO_MS: "0.05"},
    ("cohere", "rerank-v4.0-pro"): {Unit.RERANK_SEARCH: "2500"},
    ("cohere", "rerank-v4.0-fast"): {Unit.RERANK_SEARCH: "2000"},
    ("cohere", "rerank-v3.5"): {Unit.RERANK_SEARCH: "2000"},
    ("cohere", "rerank-english-v3.0"): {Unit.RERANK_SEARCH: "2000"},
    ("cohere", "rerank-multilingual-v3.0"): {Unit.RERANK_SEARCH: "2000"},
    ("aws", "cohere.rerank-v3-5"): {Unit.RERANK_SEARCH: "2000"},
    ("aws", "amazon.rerank"): {Unit.RERANK_SEARCH: "1000"},
}


class Gaps:
    """These prices as a source."""

    name = GAPS

    def rates(self, provider: str, model: str, *, at: datetime) -> Rates | None:  # noqa: ARG002 - these do not change
        return _RATES.get((provider, model))

    def sellers(self, model: str, *, at: datetime) -> Iterator[Rates]:  # noqa: ARG002 - none is sold by several
        return iter(())


def _rates(key: _Key, usd: Mapping[Unit, str]) -> Rates:
    return _tiered(key, {unit: ((0, price),) for unit, price in usd.items()})


def _tiered(key: _Key, usd: Mapping[Unit, _Tiers]) -> Rates:
    by_unit = {}
    for unit, tiers in usd.items():
        (_, base), *further = [(above, nanos_from_usd(price)) for above, price in tiers]
        by_unit[unit] = Rate(base, tuple(further))
    return Rates(model=key[1], provider=key[0], by_unit=by_unit)


_RATES: Final = {
    **{key: _rates(key, dict(zip(_TEXT, usd, strict=True))) for key, usd in _TEXT_USD.items()},
    **{key: _rates(key, {Unit.INPUT: usd}) for key, usd in _INPUT_USD.items()},
    **{key: _rates(key, {Unit.IMAGE: usd}) for key, usd in _IMAGE_USD.items()},
    **{key: _rates(key, usd) for key, usd in _OTHER_USD.items()},
    **{key: _tiered(key, usd) for key, usd in _TIERED_USD.items()},
}
