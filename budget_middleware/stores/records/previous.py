"""Reads records of the format before format 2, which gateways of an older version may still write.

Positional words and lines, money only. See ``records`` for what is written today.
"""

from collections.abc import Iterator

from budget_middleware.core.answers import Entry
from budget_middleware.core.model import Counter, Target
from budget_middleware.core.statuses import Op, Status
from budget_middleware.core.windows import Period, Window
from budget_middleware.stores.tables import booking_numbers

NO_LIMIT = "-"
"""Stands for a limit where there is none."""
_TARGET_WORDS = 6
_CHANGE_WORDS = 8
_RECORD_LINES = 9
# Behind the reason, which is the last line of a record.
_BILL = "\nbill:"


def unpack_targets(packed: str) -> tuple[Target, ...]:
    return tuple(
        Target(account, Window(Period(period), window, starts_ms=int(starts), ends_ms=int(ends)), _unpack_limit(limit))
        for account, period, window, starts, ends, limit in _groups(packed, _TARGET_WORDS)
    )


def unpack_record(record: str) -> Iterator[Entry]:
    """As ``records.unpack_record``."""
    head, op, id_, status, time_ms, trace, reserve_trace, packed, reason = record.split("\n", _RECORD_LINES - 1)
    last_seq, last_booking, _ = map(int, head.split(" "))
    changes = list(_groups(packed, _CHANGE_WORDS))
    bookings = booking_numbers(Op(op), Status(status), len(changes), last=last_booking)
    reason, _, bill = reason.partition(_BILL)
    for at, (change, booking) in enumerate(zip(changes, bookings, strict=True)):
        account, period, window, limit, spent_delta, reserved_delta, spent, reserved = change
        yield Entry(
            seq=last_seq - len(changes) + 1 + at,
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


def _unpack_limit(word: str) -> int | None:
    return None if word == NO_LIMIT else int(word)


def _groups(packed: str, size: int) -> Iterator[list[str]]:
    words = packed.split(" ") if packed else []
    return (words[at : at + size] for at in range(0, len(words), size))
