"""Turns the replies of scripts into answers."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NamedTuple

from budget_middleware.core.answers import Answer, Entry
from budget_middleware.core.limits.refusals import LoggedRefusal
from budget_middleware.core.model import Balance, Counter, Rejection, Reservation, Target
from budget_middleware.core.statuses import RETURNS_RECORDED, Status
from budget_middleware.core.units import NOTHING, Amounts
from budget_middleware.stores.errors import StoreRefused
from budget_middleware.stores.records.records import NewerFormat, unpack_record, unpack_reservation
from budget_middleware.stores.records.refusals import unpack_refusal

_STATUSES = {str(status): status for status in Status}

Records = Sequence[tuple[str, dict[str, str]]]
"""What a stream holds: the id of each record, and its fields."""


class Head(NamedTuple):
    """The words that an answer begins with: local variables of these names in `lua/_answer.lua`, in this order.

    Behind them are spent and reserved of each target.
    """

    status: str
    now_ms: str
    generation: str
    seq_text: str
    limits_version: str
    written: str
    rejection: str


_NO_REJECTION = "-"


def answer_of(
    reply: Sequence[str], id_: str = "", *, targets: Sequence[Target] = (), asked: Amounts = NOTHING
) -> Answer:
    text, recorded, *records = reply
    word, now_ms, generation, seq, limits_version, written, rejection, *figures = text.split(" ")
    status, balances = _STATUSES[word], map(int, figures)
    return Answer(
        status,
        int(now_ms),
        generation,
        int(seq),
        int(limits_version),
        unpack_reservation(id_, recorded) if recorded and status in RETURNS_RECORDED else None,
        None if rejection == _NO_REJECTION else _rejection(rejection, targets, asked),
        tuple(_entries_of(records)) if records else (),
        int(written),
        tuple([Balance(spent, reserved) for spent, reserved in zip(balances, balances, strict=True)]),
    )


def _entries_of(records: Sequence[str]) -> Iterator[Entry]:
    for record in records:
        yield from unpack_record(record)


def _rejection(word: str, targets: Sequence[Target], asked: Amounts) -> Rejection:
    index, spent, reserved, *limit = map(int, word.split(","))
    target = targets[index - 1]
    if limit:
        # What is carried over is in it.
        target = target.bound_by(limit[0])
    return Rejection(target, Balance(spent, reserved), asked.of(target.unit))


class Inspected(NamedTuple):
    """A counter's figures in its unit, then what lasting leases and due ones hold on it."""

    counter: Counter
    spent: int
    reserved: int
    adjusted: int
    held: tuple[int, ...]
    due: tuple[int, ...]


def read_inspected(counter: Counter, line: str) -> Inspected | None:
    """The reply of `inspect` for a counter; None if that is damaged."""
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
    """The entries of the journal's records that can be read. StoreRefused for one of a newer version."""
    entries: list[Entry] = []
    for record in records:
        with _readable("a record of the journal"):
            entries += unpack_record(record)
    return entries


def known_entries(record: str) -> list[Entry]:
    """Those of one record; none where it cannot be read, also where a newer version wrote it."""
    with suppress(ValueError, KeyError):
        return list(unpack_record(record))
    return []


def read_refusals(records: Records) -> list[LoggedRefusal]:
    """The refusals of the records that can be read. StoreRefused for one of a newer version."""
    refusals: list[LoggedRefusal] = []
    for id_, fields in records:
        with _readable(f"refusal {id_}"):
            refusals.append(unpack_refusal(fields))
    return refusals


@contextmanager
def _readable(what: str) -> Iterator[None]:
    try:
        yield
    except NewerFormat as error:
        raise StoreRefused(f"{what} {error}") from None
    except (ValueError, KeyError):
        pass


def read_recalled(ids: Iterable[str], texts: Iterable[str]) -> list[Reservation]:
    """The reply of `recall`, for the ids that are known. StoreRefused for one of a newer version."""
    found: list[Reservation] = []
    for id_, text in zip(ids, texts, strict=True):
        if text.startswith("!"):
            raise StoreRefused(f"reservation {id_} {text[1:]}")
        if text:
            found.append(unpack_reservation(id_, text))
    return found
