"""What a request tells a gateway of fields that reach the provider: LiteLLM sends those in `extra_body` in place of the
body's own, and leaves out those that `additional_drop_params` lists.

    {"model": "m", "n": 1, "extra_body": {"n": 50}}    is asked for fifty answers, and elsewhere for one
"""

from collections.abc import Mapping
from typing import Final

from budget_middleware.apis.bodies.reading import PartialBody, list_of, mapping_of, may_be_true, whole

EXTRA: Final = "extra_body"
DROPPED: Final = "additional_drop_params"

_MAXIMA: Final = frozenset({"max_tokens", "max_completion_tokens", "max_output_tokens", "max_tokens_to_sample"})
_COUNTS: Final = _MAXIMA | {"n", "best_of"}


def as_sent_on(body: Mapping[str, object]) -> Mapping[str, object]:
    """The body as its dearest reading has it: with what only its `extra_body` names, the larger of two counts, and no
    maximum that is not sent on. What both name otherwise stays in `extra_body`, and counts as text.
    """
    fields = {name: value for name, value in body.items() if name != EXTRA}
    both: dict[str, object] = {}
    for name, value in mapping_of(body.get(EXTRA)).items():
        if name not in body or (name in _COUNTS and _is_above(value, body[name])):
            fields[name] = value
        elif name not in _COUNTS and value != body[name]:
            both[name] = value
    if both or not isinstance(body.get(EXTRA), dict):
        fields[EXTRA] = both or body.get(EXTRA)
    for name in _MAXIMA:
        if is_dropped(body, name):
            fields.pop(name, None)
    if not isinstance(body, PartialBody):
        return fields
    partial = PartialBody(n_texts=body.n_texts, n_lists=body.n_lists)
    partial.update(fields)
    return partial


def is_dropped(body: Mapping[str, object], name: str) -> bool:
    """Whether a gateway is told to leave a field, or a part of it, out."""
    return any(_names(entry, name) for entry in list_of(body.get(DROPPED)))


def sent_on(body: Mapping[str, object], name: str) -> dict[str, object]:
    """The change by which a gateway does not leave a field out; empty where it is told no such thing."""
    dropped = list_of(body.get(DROPPED))
    kept = [entry for entry in dropped if not _names(entry, name)]
    return {DROPPED: kept} if len(kept) < len(dropped) else {}


def with_option(body: Mapping[str, object], name: str, option: str) -> dict[str, object]:
    """The change by which `extra_body` does not say no to an option that the body itself says yes to."""
    extra = mapping_of(body.get(EXTRA))
    if name not in extra or may_be_true(mapping_of(extra[name]).get(option)):
        return {}
    return {EXTRA: {**extra, name: {**mapping_of(extra[name]), option: True}}}


def _names(entry: object, name: str) -> bool:
    # Also a path within it: `stream_options.include_usage`.
    return isinstance(entry, str) and name in entry


def _is_above(value: object, other: object) -> bool:
    """Whether a count is the larger one; what is none is to be refused."""
    number, own = whole(value), whole(other)
    return number is None or number <= 0 or own is None or number > own
