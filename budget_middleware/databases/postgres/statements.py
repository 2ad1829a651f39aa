"""Statements with their parameters as the server reads them, and rows as it sends them: all of it as text, in UTF-8."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from psycopg.pq.abc import PGresult

Row = tuple[Any, ...]
Rows = list[Row]
Parameter = bytes | None


class Statement(NamedTuple):
    """The text of a statement, with `$1` for its first parameter, and what stands for the parameters."""

    text: str
    parameters: Sequence[Parameter] = ()


_READERS: dict[int, Callable[[bytes], Any]] = {
    16: b"t".__eq__,  # boolean
    20: int,  # bigint
    21: int,  # smallint
    23: int,  # integer
}
"""By the numbers that types have in every Postgres; anything else is text."""


def rows_of(result: "PGresult") -> Rows:
    value = result.get_value
    readers = [(column, _READERS.get(result.ftype(column), bytes.decode)) for column in range(result.nfields)]
    return [
        tuple([None if (word := value(row, column)) is None else read(word) for column, read in readers])
        for row in range(result.ntuples)
    ]


def text(value: str) -> bytes:
    return value.encode()


def number(value: int) -> bytes:
    return b"%d" % value


def numbers(values: Sequence[int | None]) -> bytes:
    """An array of integers."""
    return ("{" + ",".join(["NULL" if value is None else str(value) for value in values]) + "}").encode()


def texts(values: Sequence[str | None]) -> bytes:
    """An array of texts."""
    return ("{" + ",".join([_quoted(value) for value in values]) + "}").encode()


def _quoted(value: str | None) -> str:
    if value is None:
        return "NULL"
    if "\\" in value or '"' in value:
        value = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{value}"'
