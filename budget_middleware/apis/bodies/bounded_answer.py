"""Cuts a large answer, or event of one, down to what can be parsed without blocking the event loop.

An answer of 10 MB may hold millions of values, and to make an object of each takes seconds in which a worker answers
nobody. As `bounded_json` does with requests, it is weighed first. One that is too heavy (a large batch of embeddings,
or an answer made to stop us) is cut down to the short fields that hold its usage, cost, model and end; a typed decoder
passes over the rest without making objects.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from budget_middleware.apis.bodies.bounded_json import MAX_FIELD_BYTES, UNWEIGHED_BYTES, Steps, is_light_in_steps

_READ_FIELDS: Final = """
    id object type status state error model modelVersion model_version service_tier usage usageMetadata usage_metadata
    message response x_groq cost meta metrics metadata duration done done_reason prompt_eval_count eval_count
    finish_reason stop_reason promptFeedback tool_usage tools
"""
# What the usages of all dialects have that is read.
_USAGE_FIELDS: Final = """
    type speed service_tier serviceTier trafficType prompt_tokens completion_tokens total_tokens input_tokens
    output_tokens cached_tokens reasoning_tokens prompt_tokens_details completion_tokens_details
    input_tokens_details input_token_details output_tokens_details output_token_details cache_read_input_tokens
    cache_creation_input_tokens cache_creation prompt_cache_hit_tokens num_cached_tokens prompt_token_details
    claude_cache_creation_5_m_tokens claude_cache_creation_1_h_tokens citation_tokens num_search_queries
    prompt_audio_seconds seconds server_tool_use inference_geo cost total_cost estimated_cost cost_usd cost_usd_total
    cost_in_usd_ticks
    is_byok cost_details promptTokenCount candidatesTokenCount thoughtsTokenCount toolUsePromptTokenCount
    cachedContentTokenCount totalTokenCount promptTokensDetails toolUsePromptTokensDetails cacheTokensDetails
    candidatesTokensDetails inputTokens outputTokens totalTokens cacheReadInputTokens cacheWriteInputTokens
    cacheReadInputTokenCount cacheWriteInputTokenCount cacheDetails
"""
_Raw = msgspec.Raw | msgspec.UnsetType


class _Fields:
    """The fields that are kept of an object, and the decoder that passes over all others."""

    def __init__(self, text: str) -> None:
        self.names = tuple(text.split())
        kinds = [
            (f"field_{place}", _Raw, msgspec.field(name=name, default=msgspec.UNSET))
            for place, name in enumerate(self.names)
        ]
        self.decode = msgspec.json.Decoder(msgspec.defstruct("Fields", kinds)).decode


_ANSWER: Final = _Fields(_READ_FIELDS)
_USAGE: Final = _Fields(_USAGE_FIELDS)
# What may be long itself, and of which these fields are kept: an answer in an event, a usage.
_WITHIN: Final = {
    **dict.fromkeys(("message", "response"), _ANSWER),
    **dict.fromkeys(("usage", "usageMetadata", "usage_metadata", "metrics"), _USAGE),
}


def is_heavy(raw: bytes | bytearray) -> bool:
    """Whether an answer has more values than may be made objects of in one step."""
    return len(raw) > UNWEIGHED_BYTES and not _result_of(is_light_in_steps(bytes(raw)))


def _result_of(steps: Steps[bool]) -> bool:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return bool(end.value)


def lightened(raw: bytes) -> bytes:
    """The JSON object with its short known fields alone; an empty one where it cannot be read."""
    return msgspec.json.encode(_short_fields(raw, _ANSWER, depth=2))


def _short_fields(raw: bytes, kept: _Fields, *, depth: int) -> Mapping[str, msgspec.Raw]:
    """``depth``: so many objects within this one may be long as well; deeper ones are left out."""
    try:
        found = kept.decode(raw)
    except (ValueError, RecursionError):
        return {}
    fields: dict[str, msgspec.Raw] = {}
    for place, name in enumerate(kept.names):
        value = getattr(found, f"field_{place}")
        if value is msgspec.UNSET:
            continue
        if len(value) <= MAX_FIELD_BYTES:
            fields[name] = value
        elif depth and name in _WITHIN:
            fields[name] = msgspec.Raw(msgspec.json.encode(_short_fields(bytes(value), _WITHIN[name], depth=depth - 1)))
    return fields
