"""The usage that OpenAI's APIs report, under the names of all of them and of gateways that imitate them.

It stands in `usage`, or where some providers put it: in a choice (Moonshot), in `x_groq`, in `metrics` or `metadata`.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from budget_middleware.apis.bodies.reading import (
    cost_nanos,
    first_count,
    largest_count,
    list_of,
    mapping_of,
    milliseconds,
    name_in,
    shape_of,
    token_count,
    whole,
)
from budget_middleware.apis.protocol.seen import Seen
from budget_middleware.apis.protocol.usage_rules import reconcile
from budget_middleware.apis.shared.claude_modes import region_in, take_speed
from budget_middleware.core.costs.pricing import Usage
from budget_middleware.core.money import MAX_USD

_ELSEWHERE: Final = ("x_groq", "metrics", "metadata")
_TOTALS: Final = ("prompt_tokens", "input_tokens", "completion_tokens", "output_tokens", "total_tokens")
_IS_ELSEWHERE: Final = frozenset(_ELSEWHERE)
_TOOL_FIELDS: Final = frozenset({"server_tool_use", "server_side_tool_usage_details", "plugins"})
_MODE_FIELDS: Final = frozenset({"search_context_size", "speed", "inference_geo"})
# xAI counts its costs in these.
_TICKS_PER_USD: Final = 10**10
# Names of one figure: OpenAI's first, then those of gateways and of frameworks in front of them.
_CACHED_PARTS: Final = ("cached_tokens", "cache_read_tokens", "cache_read")
_WRITTEN_PARTS: Final = (
    *("cache_write_tokens", "cache_creation_tokens", "cached_creation_tokens", "cache_creation_input_tokens"),
    "cache_creation",
)
_AUDIO_PARTS: Final = ("audio_tokens", "audio")
_WRITTEN_BY_AGE: Final = ("cache_creation_token_details", "cache_creation")
_IS_WRITTEN: Final = frozenset({*_WRITTEN_PARTS, *_WRITTEN_BY_AGE})
_CACHE_FIELDS: Final = frozenset({
    *("cache_read_input_tokens", "cache_creation_input_tokens", "cache_creation"),
    *("claude_cache_creation_5_m_tokens", "claude_cache_creation_1_h_tokens"),
})  # fmt: skip


def read_openai_usage(
    answer: Mapping[str, object], seen: Seen, *, has_output: bool = True, draws: bool = False, thinks: bool = True
) -> None:
    """Take over model, service tier, usage and reported cost of an answer, as far as it has them.

    A usage counts if it has its totals; of several, as continuous usage has them, the last one is the whole.
    ``draws``: its output is images unless it says otherwise. Unless it ``thinks``, what is in its total alone is input.
    """
    seen.take_model(name_in(answer, "model"))
    seen.service_tier = name_in(answer, "service_tier") or seen.service_tier
    usage = answer.get("usage")
    if isinstance(usage, dict) and usage:
        _take(usage, seen, has_output=has_output, draws=draws, thinks=thinks)
        # Beside zeros the true usage may stand elsewhere, as it may beside none.
        if any(usage.get(name) for name in _TOTALS):
            return
    if not _IS_ELSEWHERE.isdisjoint(answer) or "choices" in answer:
        for other in _usages_elsewhere(answer):
            _take(other, seen, has_output=has_output, draws=draws, thinks=thinks)


def _usages_elsewhere(answer: Mapping[str, object]) -> Iterator[Mapping[str, object]]:
    for name in _ELSEWHERE:
        if name in answer:
            holder = mapping_of(answer[name])
            yield mapping_of(holder.get("usage")) or holder
    for choice in list_of(answer.get("choices")):
        if isinstance(choice, dict) and "usage" in choice:
            yield mapping_of(choice["usage"])


def _take(usage: Mapping[str, object], seen: Seen, *, has_output: bool, draws: bool, thinks: bool) -> None:
    _take_usage(usage, seen, has_output=has_output, draws=draws, thinks=thinks)
    take_cost(usage, seen)


def take_cost(usage: Mapping[str, object], seen: Seen) -> None:
    """Take over the cost that a usage reports, if it does, in any of its forms."""
    # A cost of 0 together with the provider's cost: the caller has brought a key of their own.
    if usage.get("is_byok") is True or ("is_byok" not in usage and usage.get("cost") == 0 and _upstream(usage)):
        seen.take_cost(_cost_by_own_key(usage))
        return
    # Providers that report whether the key was their own, or count in ticks, know all of their prices.
    ticks = whole(usage.get("cost_in_usd_ticks"))
    if ticks is not None and 0 <= ticks <= MAX_USD * _TICKS_PER_USD:
        seen.take_cost(cost_nanos(ticks / _TICKS_PER_USD), is_sure=True)
    for name in ("cost", "total_cost", "estimated_cost", "cost_usd", "cost_usd_total"):
        if name in usage:
            cost = usage[name]
            found = cost_nanos(cost.get("total_cost") if isinstance(cost, dict) else cost)
            seen.take_cost(found, is_sure=usage.get("is_byok") is False)


def _cost_by_own_key(usage: Mapping[str, object]) -> int | None:
    """With a provider's key of one's own, OpenRouter's cost is its fee; the provider's bill comes beside it."""
    upstream_nanos = _upstream(usage)
    return None if upstream_nanos is None else upstream_nanos + (cost_nanos(usage.get("cost")) or 0)


def _upstream(usage: Mapping[str, object]) -> int | None:
    return cost_nanos(mapping_of(usage.get("cost_details")).get("upstream_inference_cost"))


def _take_usage(usage: Mapping[str, object], seen: Seen, *, has_output: bool, draws: bool, thinks: bool) -> None:
    if "seconds" in usage and not any(usage.get(name) for name in _TOTALS):
        duration_ms = milliseconds(usage["seconds"])
        seen.take_usage(None if duration_ms is None else Usage(audio_ms=duration_ms))
        return
    of_input = _details(
        usage, "prompt_tokens_details", "input_tokens_details", "input_token_details", "prompt_token_details"
    )
    of_output = _details(usage, "completion_tokens_details", "output_tokens_details", "output_token_details")
    cached = largest_count(of_input, *_CACHED_PARTS) or _cached_tokens(usage)
    written, written_1h = _written_tokens(usage, of_input)
    audio_ms = milliseconds(usage.get("prompt_audio_seconds")) or 0
    # Perplexity's research: the sources that it read cost as much as input does, and each search has its fee.
    citations, searches = (first_count(usage, name) for name in ("citation_tokens", "num_search_queries"))
    if citations and not _is_research(usage, seen):
        citations = 0
    totals = reconcile(
        input_tokens=_total(usage, "prompt_tokens", "input_tokens"),
        output_tokens=_total(usage, "completion_tokens", "output_tokens"),
        # Sound that is reported in seconds is counted in this total alone; Perplexity's total
        # leaves out all that is counted separately.
        total=None if audio_ms or citations or searches else token_count(usage.get("total_tokens")),
        reasoning=first_count(of_output, "reasoning_tokens", "reasoning") or first_count(usage, "reasoning_tokens"),
        cached=cached + written,
        media=largest_count(of_input, *_AUDIO_PARTS) + first_count(of_input, "image_tokens") if of_input else 0,
        has_output=has_output,
        thinks=thinks,
        text_tokens=0 if "prompt_tokens" in usage or "input_tokens" in usage else seen.output_tokens,
    )
    if totals is None:
        seen.take_usage(Usage(audio_ms=audio_ms) if audio_ms else None)
        return
    text_tokens = first_count(of_output, "text_tokens") + totals.reasoning_tokens
    images = first_count(of_output, "image_tokens") or (totals.output_tokens - text_tokens if draws else 0)
    found = Usage(
        input_tokens=totals.input_tokens + citations,
        output_tokens=totals.output_tokens,
        cached_input_tokens=cached,
        cache_write_tokens=written,
        cache_write_1h_tokens=written_1h,
        reasoning_tokens=totals.reasoning_tokens,
        output_image_tokens=max(0, images),
        audio_ms=audio_ms,
        web_searches=searches,
    )
    if of_input or of_output:
        _add_media(found, of_input, of_output)
    if not _TOOL_FIELDS.isdisjoint(usage) or "web_search_requests" in of_input:
        _add_tools(found, usage, of_input)
    if not _MODE_FIELDS.isdisjoint(usage):
        _take_modes(usage, seen)
    seen.take_usage(
        found, contradiction=shape_of(totals.contradiction, usage) if totals.contradiction is not None else ""
    )


def _is_research(usage: Mapping[str, object], seen: Seen) -> bool:
    """Whether it is of the one model of Perplexity's that bills what it cites. It alone reports its thoughts."""
    return "deep-research" in seen.model if seen.model else first_count(usage, "reasoning_tokens") > 0


def _add_media(found: Usage, of_input: Mapping[str, object], of_output: Mapping[str, object]) -> None:
    of_cached = mapping_of(of_input.get("cached_tokens_details"))
    found.input_audio_tokens = first_count(of_input, *_AUDIO_PARTS)
    found.cached_audio_tokens = first_count(of_cached, "audio_tokens") or first_count(of_input, "cached_audio_tokens")
    found.output_audio_tokens = first_count(of_output, *_AUDIO_PARTS)
    found.input_image_tokens = first_count(of_input, "image_tokens")
    found.cached_image_tokens = first_count(of_cached, "image_tokens")


def _take_modes(usage: Mapping[str, object], seen: Seen) -> None:
    """What changes the price: the context that Perplexity searched, the speed and the region of Claude by LiteLLM."""
    take_speed(usage, seen)
    size = name_in(usage, "search_context_size")
    seen.modes = tuple(filter(None, (f"search_{size}" if size else None, region_in(usage)))) or seen.modes


def _add_tools(found: Usage, usage: Mapping[str, object], of_input: Mapping[str, object]) -> None:
    """How often tools of the provider were used: as LiteLLM, OpenRouter, xAI and DashScope report it."""
    by_tool = mapping_of(usage.get("server_tool_use") or usage.get("server_side_tool_usage_details"))
    found.web_searches = max(
        found.web_searches,
        first_count(of_input, "web_search_requests"),
        first_count(by_tool, "web_search_requests", "web_search_calls"),
        first_count(mapping_of(mapping_of(usage.get("plugins")).get("search")), "count"),
    )
    # Whichever of these two the model is billed by.
    found.grounded_requests = int(found.web_searches > 0)
    found.social_searches = first_count(by_tool, "x_search_calls")
    found.file_searches = first_count(by_tool, "file_search_calls") + first_count(by_tool, "document_search_calls")
    found.code_executions = first_count(by_tool, "code_interpreter_calls")


def _cached_tokens(usage: Mapping[str, object]) -> int:
    """DeepSeek, Moonshot, LiteLLM and Mistral have other names for the cached tokens, beside OpenAI's or instead."""
    return largest_count(
        usage, "prompt_cache_hit_tokens", "cached_tokens", "cache_read_input_tokens", "num_cached_tokens"
    )


def _written_tokens(usage: Mapping[str, object], of_input: Mapping[str, object]) -> tuple[int, int]:
    """What was written to a cache, and of that what is kept for an hour: by the names of OpenRouter, LiteLLM, new-api,
    Qwen and Anthropic, in the details or beside them.
    """
    if _CACHE_FIELDS.isdisjoint(usage) and _IS_WRITTEN.isdisjoint(of_input):
        return 0, 0
    written = max(largest_count(of_input, *_WRITTEN_PARTS), first_count(usage, "cache_creation_input_tokens"))
    found = (mapping_of(source.get(name)) for name in _WRITTEN_BY_AGE for source in (of_input, usage))
    by_age = next(filter(None, found), {})
    written_1h = first_count(by_age, "ephemeral_1h_input_tokens") or first_count(
        usage, "claude_cache_creation_1_h_tokens"
    )
    written_5m = first_count(by_age, "ephemeral_5m_input_tokens") or first_count(
        usage, "claude_cache_creation_5_m_tokens"
    )
    return max(written, written_1h + written_5m), written_1h


def _total(usage: Mapping[str, object], name: str, other_name: str) -> int | None:
    count = token_count(usage.get(name))
    if other_name not in usage:
        return count
    other = token_count(usage[other_name])
    # Two names for one thing that differ: the larger, for the smaller may be a part.
    return other if count is None else max(count, other or 0)


def _details(usage: Mapping[str, object], *names: str) -> Mapping[str, object]:
    """The first of several names of details that holds some, if one of these is more than nothing."""
    for name in names:
        if name in usage and (details := mapping_of(usage[name])):
            return details if any(details.values()) else {}
    return {}
