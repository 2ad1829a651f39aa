"""The usage that a message of Anthropic's reports: whole, in the two halves of a stream, and of the calls within it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from budget_middleware.apis.bodies.reading import first_count, list_of, mapping_of, name_in, token_count
from budget_middleware.apis.protocol.seen import Seen
from budget_middleware.apis.shared.claude_modes import take_speed_and_region
from budget_middleware.apis.shared.openai_usage import take_cost
from budget_middleware.core.costs.outcome import Finish
from budget_middleware.core.costs.usage import Usage, UsageClass

# Of the iterations that make up a message, those that its totals leave out.
_EXTRA_CALLS: Final = ("compaction", "advisor_message")
# Those that are attempts at the message, where another model takes over from one that refuses.
_ATTEMPTS: Final = ("message", "fallback_message")


def read_model_and_tier(message: Mapping[str, object], seen: Seen) -> None:
    """Take over what a message says of itself at its start, or as a whole."""
    usage = mapping_of(message.get("usage"))
    seen.take_model(name_in(message, "model"))
    seen.service_tier = name_in(usage, "service_tier")
    take_speed_and_region(usage, seen)


def read_message_usage(usage: Mapping[str, object], start: Usage | None, seen: Seen) -> None:
    """Take over a usage. ``start``: the event is the start of a stream, which reports the input."""
    if not usage:
        return
    seen.take_usage(_billed_usage(usage_of(usage, start), seen))
    take_speed_and_region(usage, seen)
    take_cost(usage, seen)
    if "web_search_requests" in mapping_of(usage.get("server_tool_use")):
        # Searches that failed are not billed.
        seen.discard_uses(UsageClass.WEB_SEARCH)
    if iterations := [mapping_of(iteration) for iteration in list_of(usage.get("iterations"))]:
        extra = [
            (name_in(one, "model") or "", usage_of(one, None)) for one in iterations if one.get("type") in _EXTRA_CALLS
        ]
        calls = (*extra, *_given_up(iterations))
        seen.extra_calls = tuple((model, used) for model, used in calls if used is not None) or seen.extra_calls


def _billed_usage(usage: Usage | None, seen: Seen) -> Usage | None:
    """The usage, of which the tokens are not billed where the model refused before it wrote anything."""
    is_refusal = seen.finish is Finish.REFUSED and not seen.text_bytes
    return Usage(web_searches=usage.web_searches) if usage and is_refusal and not usage.output_tokens else usage


def _given_up(iterations: Sequence[Mapping[str, object]]) -> Iterator[tuple[str | None, Usage | None]]:
    """The attempts of models that refused after they had begun to write. The totals are of the model that took over."""
    attempts = [one for one in iterations if one.get("type") in _ATTEMPTS]
    if all(one.get("type") == "message" for one in attempts):
        return
    served_by = name_in(attempts[-1], "model")
    for one in attempts[:-1]:
        model, used = name_in(one, "model"), usage_of(one, None)
        if used is not None and used.output_tokens and model != served_by:
            yield model, used


def usage_of(usage: Mapping[str, object], start: Usage | None) -> Usage | None:
    """A usage with both totals. The input that the start reported stands unless a later event corrects it."""
    # Some that imitate the API keep OpenAI's names.
    output_tokens = _count_in(usage, "output_tokens", "completion_tokens")
    input_tokens = _count_in(usage, "input_tokens", "prompt_tokens")
    if output_tokens is None or (start is None and input_tokens is None):
        return None
    start = start or Usage()
    plain = input_tokens or _plain_tokens(start)
    cached = first_count(usage, "cache_read_input_tokens") or start.cached_input_tokens
    of_writes = mapping_of(usage.get("cache_creation"))
    written_1h = first_count(of_writes, "ephemeral_1h_input_tokens")
    written = max(
        first_count(usage, "cache_creation_input_tokens"),
        written_1h + first_count(of_writes, "ephemeral_5m_input_tokens"),
    )
    if not written:
        written, written_1h = start.cache_write_tokens, start.cache_write_1h_tokens
    elif not of_writes and start.cache_write_1h_tokens:
        # The last event of a stream repeats the sum without the ages, which the start has reported.
        written_1h = max(0, written - (start.cache_write_tokens - start.cache_write_1h_tokens))
    return Usage(
        # As reported, neither what is read from the cache nor what is written to it is part of the input.
        input_tokens=plain + cached + written,
        output_tokens=output_tokens,
        cached_input_tokens=cached,
        cache_write_tokens=written,
        cache_write_1h_tokens=written_1h,
        reasoning_tokens=first_count(mapping_of(usage.get("output_tokens_details")), "thinking_tokens"),
        web_searches=first_count(mapping_of(usage.get("server_tool_use")), "web_search_requests"),
    )


def _count_in(usage: Mapping[str, object], name: str, other_name: str) -> int | None:
    count = token_count(usage.get(name))
    return token_count(usage.get(other_name)) if count is None and other_name in usage else count


def _plain_tokens(usage: Usage) -> int:
    return usage.input_tokens - usage.cached_input_tokens - usage.cache_write_tokens
