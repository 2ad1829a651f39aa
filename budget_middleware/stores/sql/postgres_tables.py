"""The tables that verbs read and write, as Postgres is asked for many of their rows at once.

Rows go as one array a column, of which the server makes rows again (`unnest`): one statement, however many there are.
The first parameter of each statement is the number of the ledger.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from budget_middleware.databases.postgres.statements import Parameter, numbers, texts
from budget_middleware.stores.sql.batch_data import Row

_NUMERIC: Final = frozenset(
    (
        "adjusted",
        "as_of",
        "bookings",
        "created_ms",
        "deadline_ms",
        "entries",
        "forget_ms",
        "keep_until_ms",
        "last_seq",
        "n_sources",
        "repaired_at_seq",
        "reserve_seq",
        "reserved",
        "spent",
        "time_ms",
    )
)


class Table(NamedTuple):
    """A table with its columns behind that of the ledger, the first ``n_keys`` of them its key."""

    name: str
    columns: str
    n_keys: int = 1

    @property
    def names(self) -> list[str]:
        return self.columns.split()

    def select(self, where: str) -> str:
        return f"select {', '.join(self.names)} from {self.name} where ledger = $1::bigint and {where}"

    def put(self, *, update: str = "") -> str:
        """Insert or replace rows; ``update`` says what becomes of one that is there."""
        names, keys = self.names, self.names[: self.n_keys]
        arrays = [f"${place}::{_type_of(name)}[]" for place, name in enumerate(names, start=2)]
        replaced = [f"{name} = excluded.{name}" for name in names[self.n_keys :]]
        return (
            f"insert into {self.name} (ledger, {', '.join(names)})"
            f" select $1::bigint, * from unnest({', '.join(arrays)})"
            f" on conflict (ledger, {', '.join(keys)}) do update set {update or ', '.join(replaced)}"
        )

    def drop(self) -> str:
        key = self.names[0]
        return f"delete from {self.name} where ledger = $1::bigint and {key} = any($2::{_type_of(key)}[])"

    def arrays(self, rows: Sequence[Row]) -> Iterator[Parameter]:
        """The parameters of `put` behind the first."""
        for name, column in zip(self.names, zip(*rows, strict=True), strict=True):
            yield numbers(column) if name in _NUMERIC else texts(column)


def _type_of(column: str) -> str:
    return "bigint" if column in _NUMERIC else "text"


_STEP: Final = (
    "last_seq bookings entries time_ms op reservation_id status targets figures trace reserve_trace reason bill"
)
PENDING: Final = Table("budget_pending", "id targets asked held charge created_ms deadline_ms trace reserve_seq")
ENDED: Final = Table("budget_ended", "id state targets asked charge actual created_ms forget_ms")
ADJUSTMENTS: Final = Table("budget_adjustments", "id targets amount n_sources as_of forget_ms")
COUNTERS: Final = Table("budget_counters", "name spent reserved adjusted repaired_at_seq keep_until_ms")
TOTALS: Final = Table("budget_totals", "unit kind reserved", n_keys=2)
JOURNAL: Final = Table("budget_journal", _STEP)
VOIDED: Final = Table("budget_voided", _STEP)

TABLES: Final = (PENDING, ENDED, ADJUSTMENTS, COUNTERS, TOTALS, JOURNAL, VOIDED)
