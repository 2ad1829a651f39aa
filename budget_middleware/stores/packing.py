"""The strings in which targets, reservations and journal records lie in stores.

`lua/_targets.lua` reads the same, and `lua/_journal.lua` writes the records.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

from budget_middleware.core.accounts import canonical_pattern
from budget_middleware.core.model import (
    Balance,
    Counter,
    Entry,
    Op,
    Rejection,
    Reservation,
    State,
    Status,
    Target,
)
from budget_middleware.core.refusals import LoggedRefusal
from budget_middleware.core.units import NOTHING, Amounts, Unit
from budget_middleware.core.windows import Period, Window
from budget_middleware.stores.tables import booking_numbers

NO_LIMIT = "-"
"""Stands for a limit where there is none."""
_TARGET_WORDS = 6
_CHANGE_WORDS = 8
_RECORD_LINES = 9
# Behind the reason, which is the last line of a record: a reader of an older version takes it for a part of the reason.
_BILL = "\nbill:"


@lru_cache(4_096)
def pack_targets(targets: tuple[Target, ...]) -> str:
    return " ".join(
        f"{target.account} {target.window.period} {target.window.id} "
        f"{target.window.starts_ms} {target.window.ends_ms} {pack_limit(target.limit)}"
        for target in targets
    )


@lru_cache(4_096)
def unpack_targets(packed: str) -> tuple[Target, ...]:
    return tuple(
        Target(
            account,
            Window(Period(period), window, starts_ms=int(starts), ends_ms=int(ends)),
            _unpack_limit(limit),
        )
        for account, period, window, starts, ends, limit in _groups(packed, _TARGET_WORDS)
    )


def unpack_reservation(id_: str, fields: Sequence[str]) -> Reservation:
    state, targets, amount, charge, actual, created, deadline, trace = fields
    asked = Amounts(usd=int(amount)) if amount else None
    is_pending = state == State.PENDING
    # What is over has nobody who would need the rest.
    return Reservation(
        id=id_,
        state=State(state),
        targets=unpack_targets(targets),
        asked=asked,
        held=(asked or NOTHING) if is_pending else NOTHING,
        expiry_charge=Amounts(usd=int(charge)) if is_pending or state == State.EXPIRED else NOTHING,
        actual=Amounts(usd=int(actual)),
        created_ms=int(created),
        deadline_ms=int(deadline) if is_pending else 0,
        trace=trace if is_pending else "",
    )


def unpack_record(record: str) -> Iterator[Entry]:
    """One verb's record holds an entry for each counter; its head tells the seq and the bookings of the last one."""
    head, op, id_, status, time_ms, trace, reserve_trace, packed, reason = record.split("\n", _RECORD_LINES - 1)
    last_seq, last_booking, _ = map(int, head.split(" "))
    changes = list(_groups(packed, _CHANGE_WORDS))
    bookings = booking_numbers(Op(op), Status(status), len(changes), last=last_booking)
    first_seq = last_seq - len(changes) + 1
    reason, bill = split_bill(reason)
    for offset, (change, booking) in enumerate(zip(changes, bookings, strict=True)):
        account, period, window, limit, spent_delta, reserved_delta, spent, reserved = change
        yield Entry(
            seq=first_seq + offset,
            time_ms=int(time_ms),
            op=Op(op),
            reservation_id=id_,
            counter=Counter(account, Period(period), window),
            spent_delta=int(spent_delta),
            reserved_delta=int(reserved_delta),
            spent=int(spent),
            reserved=int(reserved),
            limit=_unpack_limit(limit),
            status=Status(status),
            trace=trace,
            reserve_trace=reserve_trace,
            reason=reason,
            bookings=booking,
            bill=bill,
        )


def with_bill(reason: str, bill: str) -> str:
    """A reason as it is kept in the journal: the bill, if there is one, stands behind it on a line of its own."""
    return f"{reason}{_BILL}{bill}" if bill else reason


def split_bill(kept: str) -> tuple[str, str]:
    """The reason and the bill of what `with_bill` made; a record of an older version has no bill."""
    reason, _, bill = kept.partition(_BILL)
    return reason, bill


def record_seq(record: str) -> int:
    """The seq of a record's last entry; ValueError where it does not begin with one."""
    return int(record.partition(" ")[0])


def pack_refusal(refusal: LoggedRefusal) -> dict[str, str]:
    rejection = refusal.rejection
    return {
        "time": str(refusal.time_ms),
        "id": refusal.reservation_id,
        "accounts": " ".join(refusal.accounts),
        "target": pack_targets((rejection.target,)),
        "spent": str(rejection.balance.spent),
        "reserved": str(rejection.balance.reserved),
        "estimate": str(rejection.estimate),
        "model": refusal.model,
        "trace": refusal.trace,
        "enforced": "1" if refusal.is_enforced else "0",
        "times": str(refusal.times),
    }


def unpack_refusal(fields: Mapping[str, str]) -> LoggedRefusal:
    """ValueError or KeyError for what is none."""
    (target,) = unpack_targets(fields["target"])
    if target.limit is None:
        raise ValueError("only a limited counter refuses")
    balance = Balance(int(fields["spent"]), int(fields["reserved"]))
    return LoggedRefusal(
        int(fields["time"]),
        fields["id"],
        tuple(fields["accounts"].split()),
        Rejection(target, balance, int(fields["estimate"])),
        model=fields["model"],
        trace=fields["trace"],
        is_enforced=fields["enforced"] == "1",
        times=int(fields["times"]),
    )


_PERIODS = {str(period): period for period in Period}


def counter_name(counter: Counter) -> str:
    return counter.name


def counter_named(name: str) -> Counter:
    account, period, window, *unit = name.split("|")
    # A table: an enum looks its members up at a fifth of the speed, and operators list 100,000 counters.
    counter = Counter(account, _PERIODS.get(period) or Period(period), window, Unit(*unit) if unit else Unit.USD)
    # Of two names of one counter one is wrong.
    if unit and counter.name != name:
        raise ValueError(f"{name[:80]!r} is not the name of a counter")
    return counter


def pack_limit_field(pattern: str, period: Period) -> str:
    return f"{pattern}|{period}"


def unpack_limits(fields: Mapping[str, str]) -> tuple[dict[tuple[str, Period], int | None], list[str]]:
    """The limits, and the fields that cannot be read: requests look for the canonical form of a pattern only."""
    limits: dict[tuple[str, Period], int | None] = {}
    unreadable: list[str] = []
    for field, nanos in fields.items():
        try:
            limits[unpack_limit_field(field)] = unpack_runtime_limit(nanos)
        except ValueError:
            unreadable.append(field)
    return limits, unreadable


# Most are so, and an operator who lists 100,000 of them does not wait for a closer look.
_PLAIN_PATTERN = re.compile(r"key:[0-9a-f]{16}|(?!key:|global:)[a-z][a-z0-9_-]*:[A-Za-z0-9._/@:]{1,200}")


def unpack_limit_field(field: str) -> tuple[str, Period]:
    """ValueError for what is none."""
    pattern, period = field.split("|")
    if not _PLAIN_PATTERN.fullmatch(pattern) and canonical_pattern(pattern) != pattern:
        raise ValueError(f"{pattern[:80]!r} is not in its canonical form")
    return pattern, Period(period)


def unpack_runtime_limit(word: str) -> int | None:
    """Nano-dollars, None for a limit that is lifted; ValueError for what is neither."""
    if word != NO_LIMIT and not word.isdecimal():
        raise ValueError(f"{word[:40]!r} is no limit")
    return _unpack_limit(word)


def pack_limit(limit_nanos: int | None) -> str:
    return NO_LIMIT if limit_nanos is None else str(limit_nanos)


def _unpack_limit(word: str) -> int | None:
    return None if word == NO_LIMIT else int(word)


def _groups(packed: str, size: int) -> Iterator[list[str]]:
    words = packed.split(" ") if packed else []
    return (words[at : at + size] for at in range(0, len(words), size))
