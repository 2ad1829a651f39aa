"""Parsing a JSON body of any shape without holding up the event loop, in bounded memory.

A parser makes an object of each value, and 10 MB can hold five million of them: seconds of work, hundreds of
megabytes. So a large body is weighed before it is parsed: its brackets, quotes and commas outside of texts show how
many values there are. One with more than a model is ever sent counts by its length, and of it only those fields
are parsed that say what is asked for and who pays (a `PartialBody`); a typed decoder passes over the rest without
making objects.

    short ────────────────────────────────────────> parse
    long ──> weigh ──> few values, long texts ────> parse
               └─────> many values ──> fields only ──> PartialBody

No step takes longer than some 20 ms for ten megabytes, and the caller lets others run between steps.
"""

import json
import re
from collections.abc import Generator
from functools import lru_cache
from typing import Final, TypeVar

import msgspec

from budget_middleware.apis.bodies.bad_request import BadRequestError
from budget_middleware.apis.bodies.reading import UNREADABLE, PartialBody, parse_body
from budget_middleware.apis.bodies.repeated_fields import may_repeat_model

_T = TypeVar("_T")
Steps = Generator[None, None, _T]
"""Work in steps, between which others may run; what it returns is the result."""

# So short a body cannot hold many values.
UNWEIGHED_BYTES: Final = 65_536
# The weight of a value is about what parsing and counting it takes, in units of 0.1 us.
MAX_WEIGHT: Final = 250_000
_WEIGHT_OF_CONTAINER: Final = 4
_STEP_BYTES: Final = 1_000_000
_BACKSLASHES: Final = re.compile(rb"\\*")
# To look for fields in a body with too many values takes up to 5 ms a megabyte, in one step.
MAX_SEARCHED_BYTES: Final = 5_000_000
# Fields that are read of a body with too many values; what they hold is short.
MAX_FIELD_BYTES: Final = 65_536
_READ_FIELDS: Final = """
    model stream stream_options max_tokens max_completion_tokens max_output_tokens max_tokens_to_sample max_gen_len
    max_new_tokens maxTokens maxTokenCount n best_of service_tier serviceTier speed background deferred modalities
    quality partial_images generationConfig generation_config inferenceConfig inference_config textGenerationConfig
    options fallbacks models agent agentConfig agent_config extra_body additional_drop_params
"""


class TooManyValuesError(ValueError):
    """A body that has too many values, and is too long for its fields to be looked for; one clause for its sender."""


def parse_in_steps(raw: bytes, *, fields: tuple[str, ...] = ()) -> Steps[object]:
    """The JSON value of a body as `parse_body` reads it; a `PartialBody`, with `fields` too, where it has too many
    values, or TooManyValuesError. BadRequestError where one of these fields is too long.
    """
    if len(raw) <= UNWEIGHED_BYTES:
        return parse_body(raw)
    encoding = json.detect_encoding(raw)
    if not encoding.startswith("utf-8"):
        try:
            raw = raw.decode(encoding).encode("utf-8", "surrogatepass")
        except ValueError:
            return UNREADABLE
        yield
    is_light = yield from is_light_in_steps(raw)
    if is_light:
        return parse_body(raw)
    if len(raw) > MAX_SEARCHED_BYTES:
        raise TooManyValuesError("it has too many values")
    return _read_fields(raw, fields)


def is_light_in_steps(raw: bytes) -> Steps[bool]:
    """Whether a body has few values: at a glance, else without what is inside of texts."""
    weight = 0
    for start in range(0, len(raw), _STEP_BYTES):
        weight += _weight_of(raw, start, start + _STEP_BYTES)
        yield
    if weight <= MAX_WEIGHT:
        return True
    weight, start, is_in_text = 0, 0, 0
    while start < len(raw) and weight <= MAX_WEIGHT:
        # A step does not end within an escape, nor within a run of backslashes.
        match = _BACKSLASHES.match(raw, start + _STEP_BYTES)
        end = match.end() + 1 if match else len(raw)
        # What is escaped is part of a text. In `\\\\"` it is the backslash, and the quote ends it.
        pieces = raw[start:end].replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')
        outside = b"".join(pieces[is_in_text::2])
        weight += len(pieces) - 1 + _weight_of(outside, 0, len(outside))
        is_in_text ^= len(pieces) - 1 & 1
        start = end
        yield
    return weight <= MAX_WEIGHT


def _weight_of(raw: bytes, start: int, end: int) -> int:
    containers = raw.count(b"{", start, end) + raw.count(b"[", start, end)
    return _WEIGHT_OF_CONTAINER * containers + raw.count(b'"', start, end) + raw.count(b",", start, end)


def _read_fields(raw: bytes, fields: tuple[str, ...]) -> object:
    try:
        found = _decoder(fields).decode(raw)
    # Nothing that only a lenient parser reads is worth its time here.
    except (ValueError, RecursionError):
        return UNREADABLE
    if may_repeat_model(raw):
        raise TooManyValuesError("it has too many values, and a field may come twice in it")
    # Each text has two quotes.
    body = PartialBody(n_texts=raw.count(b'"') // 2, n_lists=raw.count(b"["))
    for place, name in enumerate(_names(fields)):
        value = getattr(found, f"field_{place}")
        if value is msgspec.UNSET:
            continue
        if len(value) > MAX_FIELD_BYTES:
            raise BadRequestError(f"{name} is longer than {MAX_FIELD_BYTES} bytes, in a request with too many values")
        body[name] = parse_body(bytes(value))
    return body


@lru_cache(16)
def _decoder(fields: tuple[str, ...]) -> "msgspec.json.Decoder[object]":
    raw_or_absent = msgspec.Raw | msgspec.UnsetType
    return msgspec.json.Decoder(
        msgspec.defstruct(
            "Fields",
            [
                (f"field_{place}", raw_or_absent, msgspec.field(name=name, default=msgspec.UNSET))
                for place, name in enumerate(_names(fields))
            ],
        )
    )


@lru_cache(16)
def _names(fields: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*_READ_FIELDS.split(), *fields)))
