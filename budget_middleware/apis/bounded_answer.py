"""A large answer, or event of one, made light enough to be parsed on the event loop.

An answer of 10 MB may hold millions of values, and to make an object of each takes seconds in which a worker answers
nobody. As `bounded_json` does with requests, it is weighed first. One that is too heavy (a large batch of embeddings,
or an answer made to stop us) is cut down to the short fields that tell its usage, cost, model and end; a typed decoder
passes over the rest without making objects.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from budget_middleware.apis.bounded_json import MAX_FIELD_BYTES, UNWEIGHED_BYTES, Steps, is_light_in_steps

_READ_FIELDS: Final = """
    id object type status state error model modelVersion model_version service_tier usage usageMetadata usage_metadata
    message response x_groq cost meta metrics metadata duration done done_reason prompt_eval_count eval_count
    finish_reason stop_reason promptFeedback
"""
_FIELDS: Final = tuple(_READ_FIELDS.split())
# What holds a whole answer in an event; of it the same fields are kept.
_WHOLE_ANSWERS: Final = frozenset({"message", "response"})
_Raw = msgspec.Raw | msgspec.UnsetType
_DECODER: Final = msgspec.json.Decoder(
    msgspec.defstruct(
        "AnswerFields",
        [
            (f"field_{place}", _Raw, msgspec.field(name=name, default=msgspec.UNSET))
            for place, name in enumerate(_FIELDS)
        ],
    )
)


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
    return msgspec.json.encode(_short_fields(raw, is_outermost=True))


def _short_fields(raw: bytes, *, is_outermost: bool) -> Mapping[str, msgspec.Raw]:
    try:
        found = _DECODER.decode(raw)
    except (ValueError, RecursionError):
        return {}
    fields: dict[str, msgspec.Raw] = {}
    for place, name in enumerate(_FIELDS):
        value = getattr(found, f"field_{place}")
        if value is msgspec.UNSET:
            continue
        if len(value) <= MAX_FIELD_BYTES:
            fields[name] = value
        elif is_outermost and name in _WHOLE_ANSWERS:
            fields[name] = msgspec.Raw(msgspec.json.encode(_short_fields(bytes(value), is_outermost=False)))
    return fields
