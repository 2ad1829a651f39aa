"""How answers to operators are written: exact figures, times and traces, and the one way from a row to JSON."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, tzinfo
from enum import Enum
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, Literal, NewType, overload

from budget_middleware.core.money import usd_from_nanos
from budget_middleware.telemetry.traceparent import is_sampled, trace_ids

Figure = NewType("Figure", str)
"""An exact amount of a counter, as a decimal string. In JSON its field's name ends with the unit: ``spent_usd``."""


class Omission(Enum):
    """The value of a field that a row has only sometimes, and that JSON leaves out then."""

    OMITTED = "omitted"


OMITTED: Final = Omission.OMITTED
Omitted = Literal[Omission.OMITTED]

NOT_IN_JSON: Final = MappingProxyType({"is_in_json": False})
"""Metadata of a field that faces may tell in sentences; what JSON says of the row is a contract without it."""

_UNIT: Final = "usd"
_FIGURES: Final = (Figure, Figure | None, Figure | Omitted)


@overload
def figure(nanos: int) -> Figure: ...
@overload
def figure(nanos: int | None) -> Figure | None: ...
def figure(nanos: int | None) -> Figure | None:
    """The figure of an amount; None for no amount, such as that of a limit that is lifted."""
    return None if nanos is None else Figure(usd_from_nanos(nanos))


def dollars(amount: Figure | int) -> str:
    """An amount within a sentence: ``-$5.00``."""
    text = figure(amount) if isinstance(amount, int) else amount
    return f"-${text[1:]}" if text.startswith("-") else f"${text}"


def iso(time_ms: int, zone: tzinfo = UTC, *, timespec: str = "milliseconds") -> str:
    """A time as ISO 8601 text."""
    seconds, ms = divmod(time_ms, 1000)
    return datetime.fromtimestamp(seconds, zone).replace(microsecond=ms * 1000).isoformat(timespec=timespec)


def ids_of_trace(traceparent: str) -> tuple[str | None, str | None]:
    """Trace and span id of a traceparent, both None where there is none."""
    trace_id, span_id = trace_ids(traceparent)
    return trace_id or None, span_id or None


def trace_url_of(traceparent: str, template: str | None) -> str | Omitted | None:
    """The link to a trace: omitted without a template, None where there is no trace or it was not sampled."""
    if template is None:
        return OMITTED
    if not is_sampled(traceparent):
        return None
    trace_id, span_id = trace_ids(traceparent)
    return template.replace("{trace_id}", trace_id).replace("{span_id}", span_id)


def as_json(value: Any) -> Any:
    """What every face says in JSON of a row, or of whatever holds rows."""
    if is_dataclass(value) and not isinstance(value, type):
        found = ((name, getattr(value, field)) for field, name in _json_names(type(value)))
        return {name: as_json(each) for name, each in found if each is not OMITTED}
    if isinstance(value, Mapping):
        return {key: as_json(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(each) for each in value]
    return value


@lru_cache(64)
def _json_names(row: type[Any]) -> tuple[tuple[str, str], ...]:
    """The fields of a class of rows, each with its name in JSON."""
    shown = [field for field in fields(row) if field.metadata.get("is_in_json", True)]
    return tuple((field.name, f"{field.name}_{_UNIT}" if field.type in _FIGURES else field.name) for field in shown)


def values_of(row: Any) -> dict[str, Any]:
    """The fields of a row by name, to make a row of a derived class that has more of them."""
    return {field.name: getattr(row, field.name) for field in fields(row)}
