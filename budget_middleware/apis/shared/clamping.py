"""The maximum of output tokens in a request's body, lowered or written: each dialect has its own field for it."""

import json
import re
from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec

from budget_middleware.apis.bodies.bad_request import BadRequestError
from budget_middleware.apis.bodies.extra_body import DROPPED, EXTRA, sent_on
from budget_middleware.apis.bodies.reading import PartialBody, mapping_of, whole_number


class _Maximum(NamedTuple):
    """The names of a maximum, and of the objects it may stand in ("": the body itself). The first of each is written
    where a request names none, unless only the model's maker knows it.
    """

    names: tuple[str, ...]
    holders: tuple[str, ...] = ("",)
    is_known: bool = True


_MAXIMUM_OF: Final[Mapping[str, _Maximum]] = {
    "openai-chat": _Maximum(("max_tokens", "max_completion_tokens")),
    "openai-completions": _Maximum(("max_tokens", "max_completion_tokens")),
    "openai-responses": _Maximum(("max_output_tokens", "max_tokens", "max_completion_tokens")),
    "anthropic-messages": _Maximum(("max_tokens", "max_tokens_to_sample")),
    "gemini": _Maximum(("maxOutputTokens", "max_output_tokens"), ("generationConfig", "generation_config")),
    "gemini-interactions": _Maximum(
        ("max_output_tokens", "maxOutputTokens"), ("generation_config", "generationConfig")
    ),
    "ollama": _Maximum(("num_predict",), ("options",)),
    "bedrock": _Maximum(
        (
            *("max_tokens", "max_tokens_to_sample", "max_completion_tokens", "max_gen_len", "max_new_tokens"),
            *("maxTokens", "maxTokenCount"),
        ),
        ("", "inferenceConfig", "textGenerationConfig", "inference_config"),
        is_known=False,
    ),
}
# OpenAI's reasoning models refuse the older name.
_BY_THE_NEWER_NAME: Final = re.compile(r"(?:^|/)(?:o[1-9]|gpt-[5-9])")
_TOP_LEVEL: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


def clamp(api: str, raw: bytes, body: object, *, at_most: int) -> tuple[bytes, object] | None:
    """A body in which no maximum is above ``at_most`` and one is named, and what it says.

    None where nothing is to be changed: a smaller maximum is named, or the dialect's field is not known here.
    """
    maximum = _MAXIMUM_OF.get(api)
    if maximum is None or not isinstance(body, dict):
        return None
    changes = _changes(maximum, body, at_most)
    if not changes:
        return None
    if isinstance(body, PartialBody):
        changed = PartialBody(n_texts=body.n_texts, n_lists=body.n_lists)
        changed.update(body | changes)
        # Of two fields with one name the last counts.
        return raw.rstrip().removesuffix(b"}") + b"," + json.dumps(changes).encode()[1:], changed
    text = with_changes(raw, body, changes)
    return (text, body | changes) if text is not None else None


def _changes(maximum: _Maximum, body: Mapping[str, object], at_most: int) -> dict[str, object]:
    """The fields of the body that are to be others."""
    changes = _changes_elsewhere(maximum, body, at_most) if EXTRA in body or DROPPED in body else {}
    is_named = False
    for holder in maximum.holders:
        fields = mapping_of(body.get(holder)) if holder else body
        named = [name for name in maximum.names if fields.get(name) is not None]
        is_named |= bool(named)
        lowered = {name: at_most for name in named if _is_above(fields, name, at_most)}
        if lowered:
            changes |= {holder: {**fields, **lowered}} if holder else lowered
    if is_named or not maximum.is_known:
        return changes
    holder, name = maximum.holders[0], maximum.names[0]
    if name == "max_tokens" and _BY_THE_NEWER_NAME.search(str(body.get("model"))):
        name = "max_completion_tokens"
    changes |= {holder: {**mapping_of(body.get(holder)), name: at_most}} if holder else {name: at_most}
    return changes


def _changes_elsewhere(maximum: _Maximum, body: Mapping[str, object], at_most: int) -> dict[str, object]:
    """The same of the maxima that a gateway sends on in place of the body's, or is told to leave out."""
    if "" not in maximum.holders:
        return {}
    changes: dict[str, object] = {}
    extra = mapping_of(body.get(EXTRA))
    lowered = {name: at_most for name in maximum.names if name in extra and _is_above(extra, name, at_most)}
    if lowered:
        changes[EXTRA] = {**extra, **lowered}
    for name in maximum.names:
        changes |= sent_on({**body, **changes}, name)
    return changes


def _is_above(fields: Mapping[str, object], name: str, at_most: int) -> bool:
    """Whether a maximum that is named is above another; what is no maximum, such as -1 for none, is."""
    try:
        number = whole_number(fields, name)
    except BadRequestError:
        return True
    return number is None or number > at_most


def with_changes(raw: bytes, body: Mapping[str, object], changes: Mapping[str, object]) -> bytes | None:
    """The body with the changes; all other values as they are written, if they can be told apart."""
    try:
        return msgspec.json.encode({**_TOP_LEVEL.decode(raw), **changes})
    except (ValueError, RecursionError):
        # Only a lenient parser reads it.
        try:
            return json.dumps({**body, **changes}).encode()
        except RecursionError:
            return None
