"""The usage that OpenAI's APIs report, under the names of all of them and of gateways that imitate them."""

from collections.abc import Mapping

from budget_middleware.apis.base import Seen
from budget_middleware.apis.reading import cost_nanos, first_count, mapping_of, milliseconds, name_in, token_count
from budget_middleware.core.pricing import Usage


def read_openai_usage(answer: Mapping[str, object], seen: Seen, *, has_output: bool = True) -> None:
    """Take over model, service tier, usage and reported cost of an answer, as far as it has them.

    A usage counts if it has its totals; of several, as continuous usage has them, the last one is the whole.
    """
    seen.model = name_in(answer, "model") or seen.model
    seen.service_tier = name_in(answer, "service_tier") or seen.service_tier
    usage = mapping_of(answer.get("usage"))
    if not usage:
        return
    seen.take_usage(_openai_usage(usage, has_output=has_output))
    seen.take_cost(_reported_cost(usage))


def _reported_cost(usage: Mapping[str, object]) -> int | None:
    """OpenRouter's cost, in nano-dollars, or Perplexity's total of several."""
    cost = usage.get("cost")
    nanos = cost_nanos(cost.get("total_cost") if isinstance(cost, dict) else cost)
    if usage.get("is_byok") is not True:
        return nanos
    # With a provider's key of one's own, OpenRouter's cost is its fee; the provider's bill comes beside it.
    upstream_nanos = cost_nanos(mapping_of(usage.get("cost_details")).get("upstream_inference_cost"))
    return None if upstream_nanos is None else upstream_nanos + (nanos or 0)


def _openai_usage(usage: Mapping[str, object], *, has_output: bool) -> Usage | None:
    if usage.get("type") == "duration" and (duration_ms := milliseconds(usage.get("seconds"))) is not None:
        return Usage(audio_ms=duration_ms)
    input_tokens = _total(usage, "prompt_tokens", "input_tokens")
    output_tokens = _total(usage, "completion_tokens", "output_tokens")
    if input_tokens is None or (output_tokens is None and has_output):
        return None
    of_input = _details(usage, "prompt_tokens_details", "input_tokens_details", "input_token_details")
    of_output = _details(usage, "completion_tokens_details", "output_tokens_details", "output_token_details")
    if not of_input and not of_output:
        return Usage(
            input_tokens=input_tokens,
            output_tokens=output_tokens or 0,
            cached_input_tokens=_cached_tokens(usage, of_input),
        )
    of_cached = mapping_of(of_input.get("cached_tokens_details"))
    reasoning_tokens = first_count(of_output, "reasoning_tokens")
    # Some providers, xAI among them, count reasoning beside the completion rather than in it.
    total = token_count(usage.get("total_tokens"))
    if reasoning_tokens and total == input_tokens + (output_tokens or 0) + reasoning_tokens:
        output_tokens = (output_tokens or 0) + reasoning_tokens
    return Usage(
        input_tokens=input_tokens,
        output_tokens=output_tokens or 0,
        cached_input_tokens=_cached_tokens(usage, of_input),
        # Not OpenAI's: the names that OpenRouter and LiteLLM give to Anthropic's cache writes.
        cache_write_tokens=first_count(of_input, "cache_write_tokens", "cache_creation_tokens"),
        reasoning_tokens=reasoning_tokens,
        input_audio_tokens=first_count(of_input, "audio_tokens"),
        cached_audio_tokens=first_count(of_cached, "audio_tokens"),
        output_audio_tokens=first_count(of_output, "audio_tokens"),
        input_image_tokens=first_count(of_input, "image_tokens"),
        cached_image_tokens=first_count(of_cached, "image_tokens"),
        output_image_tokens=first_count(of_output, "image_tokens"),
    )


def _cached_tokens(usage: Mapping[str, object], of_input: Mapping[str, object]) -> int:
    """DeepSeek and Moonshot have names of their own for the cached tokens, beside or instead of OpenAI's."""
    return first_count(of_input, "cached_tokens") or first_count(usage, "prompt_cache_hit_tokens", "cached_tokens")


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
