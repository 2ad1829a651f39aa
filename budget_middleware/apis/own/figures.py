"""Looks at what a dialect of the user's own says, before anything is held or booked by it.

A count that is no whole number of 0 or more would stay in the counters: a NaN makes a limit bind nobody, a negative one
gives money away.
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Final, TypeGuard

from budget_middleware.apis.bodies.reading import MAX_TOKENS
from budget_middleware.apis.protocol.base import Ask
from budget_middleware.apis.protocol.seen import Seen
from budget_middleware.core.costs.pricing import Usage
from budget_middleware.core.money import MAX_NANOS

_USAGE: Final = tuple(field.name for field in fields(Usage))
_SEEN: Final = tuple(field.name for field in fields(Seen))
_COUNTS_OF_SEEN: Final = ("text_bytes", "usage_text_bytes", "chunks")
_USAGES_OF_SEEN: Final = ("usage", "input_usage", "header_usage")


def wrong_in_ask(ask: object) -> str:
    """What of a request's reading is none, empty if all can be meant."""
    if not isinstance(ask, Ask):
        return f"it is {type(ask).__name__}, and no Ask"
    usages = {"input": ask.input, "worst_input": ask.worst_input}
    counts = {"thinking_tokens": ask.thinking_tokens}
    for name in ("max_output_tokens", "expected_output_tokens"):
        if (count := getattr(ask, name)) is not None:
            counts[name] = count
    if _wrong_count({"choices": ask.choices}) or not ask.choices:
        return "choices is no whole number above 0"
    for name in ("model", "service_tier"):
        if not isinstance(getattr(ask, name), str | None):
            return f"{name} is no text"
    for name in ("other_models", "maybe_models", "modes", "texts"):
        if not _are_texts(getattr(ask, name)):
            return f"{name} has something else than texts"
    return _wrong_count(counts, at_most=None) or _wrong_usage(usages)


def wrong_in_seen(seen: Seen) -> str:
    """The same of an answer's."""
    cost = seen.cost_nanos
    if cost is not None and not (_is_count(cost) and cost <= MAX_NANOS):
        return "cost_nanos is no whole number of nano-dollars"
    for name in ("model", "service_tier"):
        if not isinstance(getattr(seen, name), str | None):
            return f"{name} is no text"
    if not _are_texts(seen.modes):
        return "modes has something else than texts"
    given: object = seen.extra_calls
    if not isinstance(given, tuple) or not all(map(_is_pair, given)):
        return "extra_calls has something else than pairs of a model and its Usage"
    calls = {f"extra_calls[{at}]": used for at, (_, used) in enumerate(seen.extra_calls)}
    usages = {name: usage for name in _USAGES_OF_SEEN if (usage := getattr(seen, name)) is not None}
    return _wrong_count({name: getattr(seen, name) for name in _COUNTS_OF_SEEN}) or _wrong_usage(usages | calls)


def fields_of(seen: Seen) -> tuple[object, ...]:
    """What was seen so far, to go back to."""
    return tuple(getattr(seen, name) for name in _SEEN)


def go_back(seen: Seen, before: tuple[object, ...]) -> None:
    """Take back all that was added since."""
    for name, value in zip(_SEEN, before, strict=True):
        setattr(seen, name, value)


def _are_texts(values: object) -> bool:
    return isinstance(values, tuple) and all(isinstance(value, str) for value in values)


def _is_pair(call: object) -> bool:
    return isinstance(call, tuple) and len(call) == 2 and isinstance(call[0], str | None)


def _wrong_usage(usages: Mapping[str, object]) -> str:
    for name, usage in usages.items():
        if not isinstance(usage, Usage):
            return f"{name} is no Usage"
        if wrong := _wrong_count({field: getattr(usage, field) for field in _USAGE}):
            return f"{name}: {wrong}"
    return ""


def _is_count(value: object) -> TypeGuard[int]:
    return type(value) is int and value >= 0


def _wrong_count(counts: Mapping[str, object], *, at_most: int | None = MAX_TOKENS) -> str:
    for name, count in counts.items():
        if not _is_count(count) or (at_most is not None and count > at_most):
            return f"{name} is no whole number of 0{f' to {at_most}' if at_most is not None else ' or more'}"
    return ""
