"""What a verb's entries have booked, counted once: by accounts, models, and the windows that it was booked in."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from budget_middleware.core.answers import Entry
from budget_middleware.core.costs.bill import Amount, AmountKind
from budget_middleware.core.costs.bill_packing import PricedCall, pack
from budget_middleware.core.costs.charges import CORRECTS
from budget_middleware.core.costs.pricing import Line, Rates, UsageClass
from budget_middleware.core.journal.bookings import Booking, BookingKind, bookings_of, steps_of
from budget_middleware.core.model import Counter
from budget_middleware.core.statuses import Op, Status
from budget_middleware.core.units import Unit
from budget_middleware.core.windows import Period

BERLIN = ZoneInfo("Europe/Berlin")
MINI = Rates(model="gpt-4o-mini", provider="openai", source="genai-prices", by_unit={})
HAIKU = Rates(model="haiku", provider="anthropic", source="genai-prices", by_unit={})

DAY = Counter("team:search", Period.DAY, "2026-11-24")
MONTH = Counter("team:search", Period.MONTH, "2026-11")
USER_DAY = Counter("user:alice", Period.DAY, "2026-11-24")
USER_TOKENS = Counter("user:alice", Period.DAY, "2026-11-24", Unit.TOKENS)


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


NOON_MS = ms("2026-11-24T12:00+01:00")


def step(
    status: Status,
    *deltas: tuple[Counter, int],
    seq: int = 1,
    time_ms: int = NOON_MS,
    reason: str = "",
    bill: str = "",
    op: Op = Op.FINALIZE,
    id_: str = "r",
) -> list[Entry]:
    return [
        Entry(seq + n, time_ms, op, id_, counter, delta, 0, delta, 0, None, status, reason=reason, bill=bill)
        for n, (counter, delta) in enumerate(deltas)
    ]


def booked(entries: list[Entry]) -> list[Booking]:
    return bookings_of(entries, timezone=BERLIN)


def bill_of(nanos: int, *calls: PricedCall) -> str:
    return pack(nanos=nanos, calls=calls)


def test_several_counters_are_one_booking():
    bill = bill_of(7, PricedCall(MINI, [Line(UsageClass.INPUT, 3, 1_000_000), Line(UsageClass.OUTPUT, 2, 2_000_000)]))
    (booking,) = booked(step(Status.FINALIZED, (DAY, 7), (MONTH, 7), (USER_DAY, 7), (USER_TOKENS, 5), seq=9, bill=bill))
    assert booking == Booking(
        seq=9,
        part=0,
        time_ms=NOON_MS,
        booked_ms=NOON_MS,
        kind=BookingKind.FINALIZED,
        reservation_id="r",
        accounts=("team:search", "user:alice"),
        model="gpt-4o-mini",
        provider="openai",
        requests=1,
        nanos=7,
        counts={"input": 3, "output": 2},
    )


@pytest.mark.parametrize("status", [Status.RESERVED, Status.GROWN, Status.RELEASED])
def test_what_only_holds_or_gives_back_books_nothing(status: Status):
    assert booked(step(status, (DAY, 0))) == []


def test_a_bill_of_two_models_comes_to_the_sum():
    calls = [
        PricedCall(MINI, [Line(UsageClass.INPUT, 1, 1_500_000)]),
        PricedCall(HAIKU, [Line(UsageClass.INPUT, 1, 2_500_000)]),
        PricedCall(MINI, [Line(UsageClass.INPUT, 4, 1_000_000)]),
    ]
    first, second = booked(step(Status.FINALIZED, (DAY, 8), bill=bill_of(8, *calls)))
    assert (first.model, first.nanos, first.requests, first.counts) == ("gpt-4o-mini", 6, 1, {"input": 5})
    assert (second.model, second.nanos, second.requests, second.part) == ("haiku", 2, 0, 1)


def test_what_no_rate_led_to_is_the_first_models():
    bill = pack(nanos=10, calls=[PricedCall(MINI, [], is_billed=False)], amounts=[Amount(AmountKind.ESTIMATE, 10)])
    (booking,) = booked(step(Status.FINALIZED, (DAY, 10), bill=bill))
    assert (booking.model, booking.nanos) == ("gpt-4o-mini", 10)
    (without,) = booked(step(Status.FINALIZED, (DAY, 10), bill=pack(nanos=10)))
    assert (without.model, without.nanos, without.requests) == ("", 10, 1)
    (unreadable,) = booked(step(Status.FINALIZED, (DAY, 10), bill="no bill"))
    assert (unreadable.model, unreadable.nanos) == ("", 10)


def test_an_expiry_and_its_late_ending_come_to_the_cost():
    bill = bill_of(9, PricedCall(MINI, [Line(UsageClass.INPUT, 9, 1_000_000)]))
    (expired,) = booked(step(Status.EXPIRED, (DAY, 4), op=Op.EXPIRE))
    (late,) = booked(step(Status.FINALIZED_LATE, (DAY, 5), bill=bill))
    assert (expired.kind, expired.nanos, expired.requests) == (BookingKind.EXPIRED, 4, 0)
    assert (late.kind, late.nanos, late.requests, late.counts) == (BookingKind.LATE, 5, 1, {"input": 9})
    (taken_back,) = booked(step(Status.RELEASED_LATE, (DAY, -4), op=Op.RELEASE))
    assert (taken_back.kind, taken_back.nanos, taken_back.requests) == (BookingKind.RELEASED_LATE, -4, 0)


def test_a_correction_is_no_second_request():
    bill = bill_of(6, PricedCall(MINI, [Line(UsageClass.OUTPUT, 6, 1_000_000)]))
    (corrected,) = booked(step(Status.ADJUSTED, (DAY, -4), reason=f"{CORRECTS}abc", bill=bill, op=Op.ADJUST))
    assert (corrected.kind, corrected.nanos, corrected.requests) == (BookingKind.CORRECTED, -4, 0)
    assert (corrected.model, corrected.counts) == ("gpt-4o-mini", {"output": 6})
    (by_hand,) = booked(step(Status.ADJUSTED, (DAY, -4), (MONTH, -4), reason="goodwill", op=Op.ADJUST))
    assert (by_hand.kind, by_hand.nanos, by_hand.accounts) == (BookingKind.ADJUSTED, -4, ("team:search",))


def test_of_a_transfer_each_account_has_its_own():
    given, got = booked(step(Status.TRANSFERRED, (DAY, 3), (USER_DAY, -3), op=Op.TRANSFER))
    assert (given.accounts, given.nanos, given.part) == (("team:search",), 3, 0)
    assert (got.accounts, got.nanos, got.part) == (("user:alice",), -3, 1)
    assert booked(step(Status.TRANSFERRED, (USER_TOKENS, 3), op=Op.TRANSFER)) == [], "of money only"


def test_without_a_counter_in_usd_the_bill_says_the_cost():
    bill = bill_of(9, PricedCall(MINI, [Line(UsageClass.INPUT, 9, 1_000_000)]))
    (booking,) = booked(step(Status.FINALIZED, (USER_TOKENS, 9), bill=bill))
    assert booking.nanos == 9


@pytest.mark.parametrize(
    ("window", "time", "expected"),
    [
        ((Period.DAY, "2026-11-24"), "2026-11-24T23:59:59.999+01:00", "2026-11-24T23:59:59.999+01:00"),
        ((Period.DAY, "2026-11-24"), "2026-11-25T00:00:01+01:00", "2026-11-24T23:59:59.999+01:00"),
        ((Period.MONTH, "2026-10"), "2026-11-25T00:00:01+01:00", "2026-10-31T23:59:59.999+01:00"),
        ((Period.DAY, "2026-11-26"), "2026-11-25T12:00+01:00", "2026-11-26T00:00+01:00"),
        ((Period.TOTAL, "total"), "2026-11-25T12:00+01:00", "2026-11-25T12:00+01:00"),
        ((Period("24h"), "2026-11-25T10:48Z"), "2026-11-25T12:30+01:00", "2026-11-25T12:11:59.999+01:00"),
        ((Period.DAY, "of another zone"), "2026-11-25T12:00+01:00", "2026-11-25T12:00+01:00"),
        # The day on which the clock is set back has 25 hours.
        ((Period.DAY, "2026-10-25"), "2026-10-26T00:00:01+01:00", "2026-10-25T23:59:59.999+01:00"),
    ],
)
def test_a_booking_is_counted_in_the_windows_that_it_was_booked_in(
    window: tuple[Period, str], time: str, expected: str
):
    (booking,) = booked(step(Status.FINALIZED, (Counter("team:a", *window), 1), time_ms=ms(time)))
    assert datetime.fromtimestamp(booking.booked_ms / 1000, UTC) == datetime.fromisoformat(expected)
    assert booking.time_ms == ms(time)


def test_steps_are_parted_by_who_wrote_them():
    entries = [
        *step(Status.FINALIZED, (DAY, 1), (MONTH, 1), seq=1),
        *step(Status.FINALIZED, (DAY, 1), (MONTH, 1), seq=3, id_="s"),
        *step(Status.EXPIRED, (DAY, 1), seq=5, id_="s"),
    ]
    assert [[entry.seq for entry in each] for each in steps_of(entries)] == [[1, 2], [3, 4], [5]]
