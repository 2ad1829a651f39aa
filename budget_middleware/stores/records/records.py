"""The text in which stores keep targets, reservations, adjustments and journal records.

Theory of operation. One syntax for everything: lines of words, most of them ``name=value``, and the number of the
format first. Values hold no white space; free text stands last, on a line of its own. What is 0 or empty is left out. A
reader passes over names that it does not know, and refuses a format that is newer than its own.

    2 pending asked=usd:1200000 held=usd:1200000 seq=17 made=1763942400000 due=1763942460000
    key:1f3a5b7c9d0e1f2a|day|2026-11-24 from=1763942400 to=1764028800 limit=10000000000

The Lua scripts read and write the same: `lua/_targets.lua`, `lua/_records.lua` and `lua/_journal.lua`. What older
versions wrote is read by ``previous``.
"""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Final, NamedTuple

from budget_middleware.core.answers import Entry
from budget_middleware.core.model import Carry, Counter, OncePerTargets, Reservation, Target
from budget_middleware.core.statuses import OPS, State, Status
from budget_middleware.core.units import NOTHING, Amounts, Unit
from budget_middleware.core.windows import Period, Window
from budget_middleware.stores.records import previous as previous_records
from budget_middleware.stores.tables import booking_numbers

FORMAT: Final = 2
RESERVATION_FIELDS: Final = ("asked", "held", "charge", "actual", "seq", "made", "due", "trace")
"""The names behind the state of a reservation, in the order in which they are written."""
ASKED_NOTHING: Final = "0"
"""What stands as ``asked`` for a reserve of nothing; a tombstone has no such field."""

_CHANGED = re.compile(r"(-?[0-9]+)([+-][0-9]+)?")
_ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n", "\r": "\\r"})
_ESCAPED = re.compile(r"\\(.)")


class NewerFormat(ValueError):
    """A newer version of this package wrote it."""

    def __init__(self, version: int) -> None:
        super().__init__(
            f"was written by a newer version of budget_middleware (format {version}; this one reads up to {FORMAT}):"
            " upgrade"
        )


def require_readable(version: str) -> None:
    """NewerFormat, or ValueError for what is no format's number."""
    if int(version) > FORMAT:
        raise NewerFormat(int(version))


# Amounts.


def pack_amounts(amounts: Amounts) -> str:
    usd, tokens, requests, inflight = amounts
    if not (tokens or requests or inflight):
        return f"usd:{usd}" if usd else ""
    return ",".join([f"{unit}:{amount}" for unit, amount in zip(Unit, amounts, strict=True) if amount])


def pack_asked(asked: Amounts) -> str:
    return pack_amounts(asked) or ASKED_NOTHING


def unpack_amounts(text: str) -> Amounts:
    if text in ("", ASKED_NOTHING):
        return NOTHING
    amounts = dict(part.split(":") for part in text.split(","))
    return Amounts(**{unit: int(amount) for unit, amount in amounts.items()})


# Targets.


@OncePerTargets
def pack_targets(targets: tuple[Target, ...]) -> str:
    return "\n".join(map(_packed_target, targets))


def _packed_target(target: Target) -> str:
    window, limit = target.window, "" if target.limit is None else f" limit={target.limit}"
    if carry := target.carry:
        limit += f" carry={carry.percent} of={carry.amount} previous={carry.previous}"
    assert window.starts_ms % 1_000 == window.ends_ms % 1_000 == 0, "windows begin and end on whole seconds"
    return f"{target.counter.name} from={window.starts_ms // 1_000} to={window.ends_ms // 1_000}{limit}"


@lru_cache(4_096)
def unpack_targets(packed: str) -> tuple[Target, ...]:
    return tuple(map(_unpacked_target, packed.splitlines()))


def _unpacked_target(line: str) -> Target:
    name, *words = line.split(" ")
    counter, fields = counter_named(name), _fields(words)
    window = Window(
        counter.period, counter.window, starts_ms=1_000 * int(fields["from"]), ends_ms=1_000 * int(fields["to"])
    )
    carry = Carry(int(fields["carry"]), int(fields["of"]), fields["previous"]) if "carry" in fields else None
    return Target(counter.account, window, _limit(fields), counter.unit, carry)


def _fields(words: Iterable[str]) -> dict[str, str]:
    return dict(word.split("=", 1) for word in words)


def _limit(fields: dict[str, str]) -> int | None:
    return int(fields["limit"]) if "limit" in fields else None


# Counters.


def counter_named(name: str) -> Counter:
    """The counter of a ``Counter.name``; ValueError for what is none."""
    account, period, window, *unit = name.split("|")
    counter = Counter(account, Period(period), window, Unit(*unit) if unit else Unit.USD)
    # Of two names of one counter one is wrong.
    if unit and counter.name != name:
        raise ValueError(f"{name[:80]!r} is not the name of a counter")
    return counter


# Reservations.


def unpack_reservation(id_: str, text: str) -> Reservation:
    """KeyError or ValueError for what is none."""
    head, _, targets = text.partition("\n")
    version, state, *words = head.split(" ")
    require_readable(version)
    fields = _fields(words)
    return Reservation(
        id=id_,
        state=State(state),
        targets=unpack_targets(targets),
        asked=unpack_amounts(fields["asked"]) if "asked" in fields else None,
        held=unpack_amounts(fields.get("held", "")),
        expiry_charge=unpack_amounts(fields.get("charge", "")),
        actual=unpack_amounts(fields.get("actual", "")),
        created_ms=int(fields.get("made", 0)),
        deadline_ms=int(fields.get("due", 0)),
        trace=fields.get("trace", ""),
    )


# The journal.


class RecordHead(NamedTuple):
    """What a record of the journal begins with, in every format: see `lua/_journal.lua`."""

    seq: int
    bookings: int
    entries: int


def unpack_record(record: str) -> Iterator[Entry]:
    """One verb's record holds an entry for each counter; its head has the seq and the bookings of the last one."""
    head, second, *lines = record.split("\n")
    version, *words = second.split(" ")
    if not version.isdecimal():
        yield from previous_records.unpack_record(record)
        return
    require_readable(version)
    fields, texts = _fields(words), dict(line.split(" ", 1) for line in lines if "|" not in line.split(" ", 1)[0])
    changes = [line for line in lines if "|" in line.split(" ", 1)[0]]
    last = RecordHead(*map(int, head.split(" ")))
    status = Status(fields["status"])
    op = OPS[status]
    bookings = booking_numbers(op, status, len(changes), last=last.bookings)
    for at, (change, booking) in enumerate(zip(changes, bookings, strict=True)):
        name, *figures = change.split(" ")
        spent, spent_delta, reserved, reserved_delta, limit = _unpack_change(_fields(figures))
        yield Entry(
            seq=last.seq - len(changes) + 1 + at,
            time_ms=int(fields["at"]),
            op=op,
            reservation_id=fields["id"],
            counter=counter_named(name),
            spent_delta=spent_delta,
            reserved_delta=reserved_delta,
            spent=spent,
            reserved=reserved,
            limit=limit,
            status=status,
            trace=fields.get("trace", ""),
            reserve_trace=fields.get("reserve_trace", ""),
            reason=_unescaped(texts.get("reason", "")),
            bookings=booking,
            bill=texts.get("bill", ""),
        )


def _unpack_change(fields: dict[str, str]) -> tuple[int, int, int, int, int | None]:
    return *_changed(fields.get("spent", "0")), *_changed(fields.get("reserved", "0")), _limit(fields)


def _changed(figure: str) -> tuple[int, int]:
    """What a figure is after its change, and the change: ``380+120`` is 500 after 120."""
    match = _CHANGED.fullmatch(figure)
    if match is None:
        raise ValueError(f"{figure[:40]!r} is no figure")
    delta = int(match[2] or 0)
    return int(match[1]) + delta, delta


def pack_tail(reason: str, bill: str = "") -> str:
    """The last lines of a journal record."""
    if not reason and not bill:
        return ""
    # Nearly all are a word.
    reason = reason if reason.isalnum() else reason.translate(_ESCAPES)
    return (f"\nreason {reason}" if reason else "") + (f"\nbill {bill}" if bill else "")


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(lambda found: {"n": "\n", "r": "\r"}.get(found[1], found[1]), text) if "\\" in text else text
