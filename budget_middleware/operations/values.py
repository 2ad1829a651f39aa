"""Formats values for operators: exact figures, times and trace links, and rows as JSON."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, tzinfo
from enum import Enum
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, Literal, Self, overload

from budget_middleware.core.money import nanos_from_usd
from budget_middleware.core.units import Amounts, Unit, figure_text, format_figure
from budget_middleware.telemetry.traceparent import is_sampled, trace_ids


class Figure(str):
    """An exact amount of a counter, as a decimal string. In JSON its field's name ends with its unit: ``spent_usd``."""

    __slots__ = ("unit",)
    unit: Unit

    def __new__(cls, text: str, unit: Unit = Unit.USD) -> Self:
        made = super().__new__(cls, text)
        made.unit = unit
        return made

    @property
    def amount(self) -> int:
        """In integers of its unit: of USD, nano-dollars."""
        return nanos_from_usd(self) if self.unit is Unit.USD else int(self)

    @property
    def is_nothing(self) -> bool:
        return not self.strip("-0.")

    @property
    def negated(self) -> "Figure":
        if self.is_nothing:
            return self
        return Figure(self[1:] if self.startswith("-") else f"-{self}", self.unit)


class Omission(Enum):
    """The value of a field that a row has only sometimes, and that JSON leaves out then."""

    OMITTED = "omitted"


OMITTED: Final = Omission.OMITTED
Omitted = Literal[Omission.OMITTED]

NOT_IN_JSON: Final = MappingProxyType({"is_in_json": False})
"""Metadata of a field that faces may show in sentences; what JSON says of the row is a contract without it."""

_FIGURES: Final = (Figure, Figure | None, Figure | Omitted)


@overload
def figure(amount: int, unit: Unit = Unit.USD) -> Figure: ...
@overload
def figure(amount: int | None, unit: Unit = Unit.USD) -> Figure | None: ...
def figure(amount: int | None, unit: Unit = Unit.USD) -> Figure | None:
    """The figure of an amount; None for no amount, such as that of a limit that is lifted."""
    return None if amount is None else Figure(figure_text(amount, unit), unit)


def format_amount(amount: Figure) -> str:
    """An amount within a sentence: ``-$5.00``, ``812 tokens``."""
    if amount.unit is Unit.USD:
        return f"-${amount[1:]}" if amount.startswith("-") else f"${amount}"
    return format_figure(int(amount), amount.unit)


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
        unit = getattr(value, "unit", None)
        unit = unit if isinstance(unit, Unit) else Unit.USD
        row: dict[str, Any] = {}
        for field, name in _json_names(type(value), unit):
            each = getattr(value, field)
            if isinstance(each, Amounts):
                row |= _amounts_in_json(field, each)
            elif each is not OMITTED:
                row[name] = as_json(each)
        return row
    if isinstance(value, Mapping):
        return {key: as_json(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(each) for each in value]
    return value


@lru_cache(64)
def _json_names(row: type[Any], unit: Unit) -> tuple[tuple[str, str], ...]:
    """The fields of a class of rows, each with its name in JSON."""
    shown = [field for field in fields(row) if field.metadata.get("is_in_json", True)]
    return tuple((field.name, f"{field.name}_{unit}" if field.type in _FIGURES else field.name) for field in shown)


def _amounts_in_json(name: str, amounts: Amounts) -> dict[str, str]:
    """Money, and of other units what is not 0."""
    of_units = zip(Unit, amounts, strict=True)
    return {f"{name}_{unit}": figure_text(each, unit) for unit, each in of_units if each or unit is Unit.USD}


def values_of(row: Any) -> dict[str, Any]:
    """The fields of a row by name, to make a row of a derived class that has more of them."""
    return {field.name: getattr(row, field.name) for field in fields(row)}
