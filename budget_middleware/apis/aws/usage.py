"""The usage that Bedrock reports: in JSON by the names of each model, and in the headers of an invocation."""

import re
from collections.abc import Mapping
from typing import Final

from budget_middleware.apis.bodies.reading import first_count, list_of, mapping_of, token_count
from budget_middleware.apis.protocol.usage_rules import MOST_OUTPUT
from budget_middleware.core.costs.pricing import Usage
from budget_middleware.headers import HeaderTable

# Input and output tokens by the names of the models, of converse, and of the metrics that end a stream.
_TOTALS: Final = (
    ("inputTokens", "outputTokens"),
    ("inputTokenCount", "outputTokenCount"),
    ("prompt_token_count", "generation_token_count"),
)
# In the headers of an invocation.
_HEADER: Final = b"x-amzn-bedrock-%b-token-count"
USAGE_HEADER: Final = _HEADER % b"input"
"""Without it there is no usage in the headers."""
_TIER: Final = b"x-amzn-bedrock-service-tier"
_LATENCY: Final = b"x-amzn-bedrock-performanceconfig-latency"
MODE_HEADERS: Final = frozenset({_TIER, _LATENCY})
"""Those in which an invocation tells in which mode it was served."""
_MODE: Final = re.compile(rb"[a-z]{1,40}")
_MOST_DIGITS: Final = 19


def usage_of(reported: Mapping[str, object]) -> Usage | None:
    """The usage that an object reports by any of the names of models; None if by none."""
    for names in _TOTALS:
        input_tokens, output_tokens = (token_count(reported.get(name)) for name in names)
        if input_tokens is not None and output_tokens is not None:
            cached = first_count(reported, "cacheReadInputTokens", "cacheReadInputTokenCount")
            written = first_count(reported, "cacheWriteInputTokens", "cacheWriteInputTokenCount")
            writes = map(mapping_of, list_of(reported.get("cacheDetails")))
            # What this total has beyond the parts was thought. It may leave out what the cache has to do with.
            input_tokens += cached + written
            beyond = first_count(reported, "totalTokens") - input_tokens - output_tokens
            output_tokens += beyond if 0 < beyond <= MOST_OUTPUT else 0
            return Usage(
                input_tokens=input_tokens,
                output_tokens=output_tokens,
                cached_input_tokens=cached,
                cache_write_tokens=written,
                cache_write_1h_tokens=sum(first_count(w, "inputTokens") for w in writes if w.get("ttl") == "1h"),
            )
    titan_input = token_count(reported.get("inputTextTokenCount"))
    if titan_input is None:
        return None
    results = map(mapping_of, list_of(reported.get("results")))
    return Usage(input_tokens=titan_input, output_tokens=sum(first_count(result, "tokenCount") for result in results))


def usage_in_headers(headers: HeaderTable) -> Usage | None:
    """The usage of an invoked model whose own answer may report none; None where there is none in the headers."""
    if not headers.get(USAGE_HEADER):
        return None
    fresh, output, cached, written = (
        token_count(_number(headers.get(_HEADER % kind, b"")))
        for kind in (b"input", b"output", b"cache-read-input", b"cache-write-input")
    )
    if fresh is None:
        return None
    return Usage(
        input_tokens=fresh + (cached or 0) + (written or 0),
        # Embeddings have none.
        output_tokens=output or 0,
        cached_input_tokens=cached or 0,
        cache_write_tokens=written or 0,
    )


def modes_in_headers(headers: HeaderTable) -> tuple[str, ...]:
    """The service tier of an invocation, and whether its latency was optimized: clients ask for it in headers, too."""
    tier, latency = (headers.get(name, b"").strip().lower() for name in (_TIER, _LATENCY))
    return tuple(mode.decode() for mode in (tier, latency) if _MODE.fullmatch(mode) and mode != b"standard")


def _number(text: bytes) -> int | None:
    return int(text) if text.isdigit() and len(text) < _MOST_DIGITS else None
