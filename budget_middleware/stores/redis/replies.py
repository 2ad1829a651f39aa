"""From what the scripts tell to answers."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from budget_middleware.core.model import (
    TELLS_RECORDED,
    Answer,
    Balance,
    Counter,
    Entry,
    Rejection,
    Reservation,
    Status,
    Target,
)
from budget_middleware.core.refusals import LoggedRefusal
from budget_middleware.stores.packing import unpack_record, unpack_refusal, unpack_reservation

_STATUSES = {str(status): status for status in Status}

Records = Sequence[tuple[str, dict[str, str]]]
"""What a stream holds: the id of each record, and its fields."""


def answer_of(
    reply: Sequence[Any], id_: str = "", *, targets: Sequence[Target] = (), estimate_nanos: int = 0
) -> Answer:
    status_word, now_ms, generation, seq, version, recorded, rejection, records, written, balances = reply
    status, figures = _STATUSES[status_word], map(int, balances)
    return Answer(
        status,
        now_ms,
        generation,
        seq,
        int(version),
        unpack_reservation(id_, recorded) if recorded and status in TELLS_RECORDED else None,
        _rejection(rejection, targets, estimate_nanos) if rejection else None,
        tuple(_told(records)) if records else (),
        written,
        tuple(map(Balance, figures, figures)),
    )


def _told(records: Sequence[str]) -> Iterator[Entry]:
    for record in records:
        yield from unpack_record(record)


def _rejection(reply: Sequence[Any], targets: Sequence[Target], estimate_nanos: int) -> Rejection:
    index, spent, reserved = reply
    return Rejection(targets[int(index) - 1], Balance(int(spent), int(reserved)), estimate_nanos)


class Inspected(NamedTuple):
    """A counter's figures in nano-dollars, then what lasting leases and due ones hold on it."""

    counter: Counter
    spent: int
    reserved: int
    adjusted: int
    held: tuple[int, ...]
    due: tuple[int, ...]


def read_inspected(counter: Counter, line: str) -> Inspected | None:
    """What `inspect` tells of a counter; None where it is damaged."""
    try:
        figures, held, due = line.split("|")
        spent, reserved, adjusted = map(int, figures.split(" "))
        # Nearly all hold nothing.
        return Inspected(counter, spent, reserved, adjusted, _amounts(held), _amounts(due))
    except ValueError:
        return None


def _amounts(words: str) -> tuple[int, ...]:
    return tuple(map(int, words.split())) if words else ()


def read_entries(records: Iterable[str]) -> list[Entry]:
    """The entries of the journal's records that can be read."""
    entries: list[Entry] = []
    for record in records:
        with suppress(ValueError):
            entries += unpack_record(record)
    return entries


def read_refusals(records: Records) -> list[LoggedRefusal]:
    """The refusals of the records that can be read."""
    refusals: list[LoggedRefusal] = []
    for _, fields in records:
        with suppress(ValueError, KeyError):
            refusals.append(unpack_refusal(fields))
    return refusals


def readable_reservation(id_: str, fields: Sequence[str | None] | Exception) -> Reservation | None:
    if isinstance(fields, Exception) or None in fields:
        return None
    with suppress(ValueError):
        return unpack_reservation(id_, fields)  # type: ignore[arg-type]
    return None
