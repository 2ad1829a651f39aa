"""The history of a ledger, beside its store: opened for an operator, and how far it goes.

A history has what the journal of a store had, months back; the journal has what was not copied yet. An answer from both
takes the history up to its last entry, and the journal from there on, so that no entry comes twice: the key of an entry
is the generation of its store and its seq.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

from budget_middleware.databases.errors import DatabaseFault
from budget_middleware.history.reading import History, open_history
from budget_middleware.operations.context import OperatorContext
from budget_middleware.operations.errors import OperationError
from budget_middleware.setting_types import redact_url
from budget_middleware.settings import Settings

_T = TypeVar("_T")


class Copied(NamedTuple):
    """How far the current store was copied. ``label`` is what the history calls this generation of it.

    At ``seq``, of ``time_ms``, it had had so many bookings. Generations are counted by ``number``, from 1.
    """

    label: str
    store_generation: str
    seq: int
    bookings: int
    time_ms: int
    copied_ms: int
    number: int


def copied(history: History, ledger: str) -> Copied | None:
    """None if nothing was copied."""
    rows = history.fetch(
        "select generation, store_generation, seq, bookings, time_ms, copied_ms, number from progress where ledger = ?"
        " order by number desc limit 1",
        (ledger,),
    )
    return Copied(*rows[0]) if rows else None


@contextmanager
def reading(settings: Settings) -> Iterator[History]:
    """The history that is set. OperationError, in one line, where it cannot be read. It blocks."""
    try:
        with open_history(settings.history_url) as history:
            yield history
    except (DatabaseFault, ValueError) as error:
        raise OperationError(
            f"BUDGET_HISTORY_URL={redact_url(settings.history_url)}: {' '.join(str(error).split())};"
            " without it the journal alone is read"
        ) from None


async def from_history(context: OperatorContext, read: Callable[[History], _T]) -> _T | None:
    """What is read of the history, in a thread; None where there is none."""
    if not context.settings.history_url:
        return None

    def in_thread() -> _T:
        with reading(context.settings) as history:
            return read(history)

    return await asyncio.to_thread(in_thread)
