"""The tables of an export: what is selected of the history, and which type each column has.

Figures are whole numbers, as in the history: of money nano-dollars, in 64 bits. That is exact, every reader sums it
exactly, and it is the type that pandas computes with; decimals would be objects to it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from budget_middleware.history.schema import COUNT_COLUMNS


class ColumnType(Enum):
    """What a column holds."""

    TEXT = "text"
    NAME = "name"
    """A text of which there are few: it is written once, and referred to."""
    WHOLE = "whole"
    TIME = "time"
    """Milliseconds since 1970, UTC."""
    YES_NO = "yes_no"
    TEXTS = "texts"


@dataclass(frozen=True, slots=True)
class ExportTable:
    """``columns`` of a file by name, and what is selected for each; the rows come in the order of ``time``."""

    name: str
    source: str
    time: str
    columns: Mapping[str, tuple[str, ColumnType]]

    @property
    def select(self) -> str:
        """The statement for one ledger and a span of time; the time comes first."""
        selected = ", ".join(column for column, _ in self.columns.values())
        return (
            f"select {self.time}, {selected} from {self.source}"
            f" where t.ledger = ? and {self.time} >= ? and {self.time} < ? order by {self.time}"
        )

    @property
    def select_count(self) -> str:
        """How many rows that gives."""
        return f"select count(*) from {self.name} t where t.ledger = ? and {self.time} >= ? and {self.time} < ?"

    @property
    def select_next(self) -> str:
        """The time of the first row of a ledger from a time on."""
        return f"select min({self.time}) from {self.name} t where t.ledger = ? and {self.time} >= ?"


def _columns(prefix: str, **types: ColumnType) -> Mapping[str, tuple[str, ColumnType]]:
    """Columns that are called as they are in the history; times without their unit, which their type has."""
    return {name.removesuffix("_ms"): (f"{prefix}.{name}", of) for name, of in types.items()}


_TEXT, _NAME, _WHOLE, _TIME = ColumnType.TEXT, ColumnType.NAME, ColumnType.WHOLE, ColumnType.TIME
_COUNTER = {"account": _NAME, "kind": _NAME, "period": _NAME, "window_id": _NAME, "unit": _NAME}

TABLES: Final = (
    ExportTable(
        "bookings",
        "bookings t join payer_sets p on p.id = t.payers",
        "t.booked_ms",
        {
            **_columns("t", ledger=_NAME, generation=_NAME, seq=_WHOLE, part=_WHOLE, booked_ms=_TIME, time_ms=_TIME),
            **_columns("t", kind=_NAME, reservation_id=_TEXT),
            **_columns("p", accounts=ColumnType.TEXTS),
            **_columns("t", model=_NAME, provider=_NAME, requests=_WHOLE, cost_nanos=_WHOLE, omitted_lines=_WHOLE),
            **_columns("t", **dict.fromkeys(COUNT_COLUMNS, _WHOLE)),
        },
    ),
    ExportTable(
        "entries",
        "entries t",
        "t.time_ms",
        _columns(
            "t",
            ledger=_NAME, generation=_NAME, seq=_WHOLE, step=_WHOLE, time_ms=_TIME, op=_NAME, status=_NAME,
            reservation_id=_TEXT, **_COUNTER, spent_delta=_WHOLE, reserved_delta=_WHOLE, spent=_WHOLE, reserved=_WHOLE,
            limit_amount=_WHOLE, trace=_TEXT, reserve_trace=_TEXT, reason=_TEXT, bookings=_WHOLE,
        ),
    ),
    ExportTable(
        "refusals",
        "refusals t",
        "t.time_ms",
        _columns(
            "t",
            ledger=_NAME, time_ms=_TIME, reservation_id=_TEXT, accounts=ColumnType.TEXTS, **_COUNTER,
            limit_amount=_WHOLE, spent=_WHOLE, reserved=_WHOLE, estimate=_WHOLE, model=_NAME, trace=_TEXT,
            is_enforced=ColumnType.YES_NO, times=_WHOLE, mode=_NAME,
        ),
    ),
)  # fmt: skip

CONVERT: Final[Mapping[ColumnType, Callable[[Any], Any]]] = {
    ColumnType.YES_NO: bool,
    ColumnType.TEXTS: str.split,
}
"""From what the history has to what a file has, where these differ."""
