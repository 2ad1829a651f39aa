"""Statements one after the other, without a connection: what is not decided by verbs is written so, for all databases.

A script is a generator. It yields queries, is sent the rows of each, and returns what it found. A driver runs it in one
transaction: `write` under the lock of the ledger, `read` over one snapshot.
"""

from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple, TypeVar

from budget_middleware.stores.sql.batch_data import Row

T = TypeVar("T")


class Query(NamedTuple):
    """A statement with ``?`` for each parameter: int, str or None.

    Two words are another in each database: ``{position}``, a function that finds the second text in the first, and
    ``{newline}``.
    """

    text: str
    parameters: Sequence[int | str | None] = ()

    def in_words(self, *, position: str, newline: str) -> str:
        return self.text.replace("{position}", position).replace("{newline}", newline)


Rows = Sequence[Row]
Script = Generator[Sequence[Query], Sequence[Rows], T]


class At(NamedTuple):
    """The number of the ledger, and the time at which a script runs."""

    ledger: int
    now_ms: int


ScriptOf = Callable[[At], Script[T]]


def ask(text: str, *parameters: int | str | None) -> Generator[Sequence[Query], Sequence[Rows], Rows]:
    """The rows of one query."""
    (rows,) = yield [Query(text, parameters)]
    return rows


def in_list(count: int) -> str:
    """Marks for a list of so many; of a few lengths only, so that few texts are prepared: see `padded`."""
    return f"({', '.join('?' * _length(count))})"


def padded(items: Sequence[Any]) -> list[Any]:
    """As many as there are marks; nothing is equal to None."""
    return [*items, *[None] * (_length(len(items)) - len(items))]


def _length(count: int) -> int:
    length = 1
    while length < count:
        length *= 2
    return length
