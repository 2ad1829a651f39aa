"""The audit as tables: a journal, the counters beside it, and what is called drift."""

from collections.abc import Iterable

import pytest

from budget_middleware.core.answers import CounterProof, Entry
from budget_middleware.core.journal.audit import Audit, Check, Correction, Drift, Report
from budget_middleware.core.model import Balance, Counter
from budget_middleware.core.statuses import Op, Status
from budget_middleware.core.windows import Period
from tests.stores.verbs import DAY_MS

A = Counter("key:a", Period.MONTH, "2026-11")
B = Counter("key:b", Period.MONTH, "2026-11")
FORGOTTEN_MS = 35 * DAY_MS


def entry(
    seq: int,
    after: tuple[int, int],
    delta: tuple[int, int],
    *,
    counter: Counter = A,
    ms: int = 0,
    status: Status = Status.ADJUSTED,
    bookings: int | None = None,
) -> Entry:
    """A booking, numbered as its seq is, unless told otherwise; or what only holds or gives back."""
    op = {Status.RESERVED: Op.RESERVE, Status.RELEASED: Op.RELEASE}.get(status, Op.ADJUST)
    numbered = seq if bookings is None else bookings
    return Entry(seq, ms, op, "r", counter, *delta, *after, limit=None, status=status, bookings=numbered)


# Held 6, booked as 1, then 2 more booked.
JOURNAL = [entry(1, (0, 6), (0, 6)), entry(2, (1, 0), (1, -6)), entry(3, (3, 0), (2, 0))]


def proof(
    spent: int,
    reserved: int,
    *,
    seq: int = 3,
    counter: Counter = A,
    adjusted: int = 0,
    pending: int | None = None,
) -> CounterProof:
    held = reserved if pending is None else pending
    return CounterProof(counter, Balance(spent, reserved), adjusted, pending=1, held=held, seen_at_seq=seq)


def audited(proofs: Iterable[CounterProof], journal: Iterable[Entry], *, head_seq: int = 3, now_ms: int = 0) -> Report:
    audit = Audit(proofs, head_seq=head_seq, now_ms=now_ms, forgotten_after_ms=lambda period: FORGOTTEN_MS)
    for found in journal:
        audit.add([found])
    return audit.report()


CLEAN = {
    "nothing was ever written": ([], [], 0),
    "the journal leads to the counter": ([proof(3, 0)], JOURNAL, 3),
    "entries after the proof was read": ([proof(1, 0, seq=2)], JOURNAL, 1),
    "the first entries were trimmed": ([proof(3, 0)], JOURNAL[1:], 3),
    "a credit below zero": ([proof(-2, 0, seq=1, adjusted=-2)], [entry(1, (-2, 0), (-2, 0))], 1),
    "a counter made after the head was read": ([], [entry(1, (0, 6), (0, 6))], 0),
    "a counter that went back to zero and is gone": ([], [JOURNAL[0], entry(2, (0, 0), (0, -6))], 2),
}


@pytest.mark.parametrize(("proofs", "journal", "head_seq"), CLEAN.values(), ids=CLEAN)
def test_no_drift(proofs: list[CounterProof], journal: list[Entry], head_seq: int):
    assert audited(proofs, journal, head_seq=head_seq) == Report((), unproved=0)


DRIFTING = {
    "spent by hand": ([proof(4, 0)], JOURNAL, [Drift(A, Check.SPENT, 3, 4)]),
    "held by hand": (
        [proof(3, 5, pending=0)],
        JOURNAL,
        [Drift(A, Check.RESERVED, 0, 5), Drift(A, Check.PENDING, 0, 5)],
    ),
    "a reservation without its hold": ([proof(3, 0, pending=2)], JOURNAL, [Drift(A, Check.PENDING, 2, 0)]),
    "below zero": (
        [proof(-1, -6, seq=1)],
        [entry(1, (-1, -6), (-1, -6))],
        [Drift(A, Check.NEGATIVE_SPENT, 0, -1), Drift(A, Check.NEGATIVE_RESERVED, 0, -6)],
    ),
    "booked more than adjusted away": (
        [proof(1, 0, seq=1, adjusted=2)],
        [entry(1, (1, 0), (1, 0))],
        [Drift(A, Check.NEGATIVE_SPENT, 0, -1)],
    ),
    "a broken chain": (
        [proof(9, 1)],
        [*JOURNAL[:2], entry(3, (9, 1), (2, 1))],
        [Drift(A, Check.CHAIN_SPENT, 1, 7, seq=3)],
    ),
    "a first entry that does not begin at zero": (
        [proof(5, 0, seq=1)],
        [entry(1, (5, 0), (2, -1))],
        [Drift(A, Check.CHAIN_SPENT, 0, 3, seq=1), Drift(A, Check.CHAIN_RESERVED, 0, 1, seq=1)],
    ),
    "a counter of which a whole journal knows nothing": (
        [proof(3, 0), proof(2, 0, counter=B)],
        JOURNAL,
        [Drift(B, Check.SPENT, 0, 2)],
    ),
    "a counter that was lost": ([], JOURNAL, [Drift(A, Check.SPENT, 3, 0)]),
}


@pytest.mark.parametrize(("proofs", "journal", "drift"), DRIFTING.values(), ids=DRIFTING)
def test_drift(proofs: list[CounterProof], journal: list[Entry], drift: list[Drift]):
    assert audited(proofs, journal).drift == tuple(drift)


def test_a_counter_whose_entries_were_all_trimmed_is_checked_by_itself_only():
    trimmed = [entry(7, (1, 0), (1, 0), counter=B)]
    proofs = [proof(9, 0, seq=7), proof(1, 0, seq=7, counter=B)]
    assert audited(proofs, trimmed, head_seq=7) == Report((), unproved=1)
    report = audited([proof(9, 5, seq=7, pending=4)], trimmed[:0], head_seq=7)
    assert (report.drift, report.unproved) == ((Drift(A, Check.PENDING, 4, 5),), 1)


def test_a_counter_begins_again_only_after_its_time():
    again = entry(4, (2, 0), (2, 0), ms=FORGOTTEN_MS)
    too_soon = entry(4, (2, 0), (2, 0), ms=FORGOTTEN_MS - 1)
    proofs = [proof(2, 0, seq=4)]
    assert audited(proofs, [*JOURNAL, again]).drift == ()
    assert audited(proofs, [*JOURNAL, too_soon]).drift == (Drift(A, Check.CHAIN_SPENT, 3, 0, seq=4),)


def test_a_counter_may_be_gone_only_after_its_time():
    assert audited([], JOURNAL, now_ms=FORGOTTEN_MS).drift == ()
    assert audited([], JOURNAL, now_ms=FORGOTTEN_MS - 1).drift == (Drift(A, Check.SPENT, 3, 0),)


def test_the_journal_is_needed_up_to_the_latest_proof():
    def needed(proofs: list[CounterProof]) -> int:
        return Audit(proofs, head_seq=3, now_ms=0, forgotten_after_ms=lambda period: 1).needed_seq

    assert needed([]) == 3
    assert needed([proof(0, 0, seq=5), proof(0, 0, seq=9, counter=B)]) == 9


def repaired(seq: int, after: tuple[int, int], delta: tuple[int, int], *, counter: Counter = A) -> Entry:
    return entry(seq, after, delta, counter=counter)._replace(op=Op.ADJUST, status=Status.REPAIRED)


BROKEN = [*JOURNAL[:2], entry(3, (9, 1), (2, 1))]


def test_a_repair_settles_what_was_broken_before_it():
    settled = [*BROKEN, repaired(4, (3, 1), (-6, 0))]
    assert audited([proof(3, 1, seq=4)], settled, head_seq=4) == Report((), unproved=0)
    gone_on = [*settled, entry(5, (4, 0), (1, -1))]
    assert audited([proof(4, 0, seq=5)], gone_on, head_seq=5) == Report((), unproved=0)


def test_nothing_but_a_repair_settles_a_broken_chain():
    unsettled = [*BROKEN, repaired(4, (3, 1), (-6, 0))._replace(status=Status.ADJUSTED)]
    assert audited([proof(3, 1, seq=4)], unsettled, head_seq=4).drift == (Drift(A, Check.CHAIN_SPENT, 1, 7, seq=3),)
    of_another = [*BROKEN, repaired(4, (3, 1), (-6, 0), counter=B)]
    proofs = [proof(9, 1, seq=4), proof(3, 1, seq=4, counter=B)]
    assert audited(proofs, of_another, head_seq=4).drift == (Drift(A, Check.CHAIN_SPENT, 1, 7, seq=3),)


def test_what_breaks_after_a_repair_is_told():
    later = [*BROKEN, repaired(4, (3, 1), (-6, 0)), entry(5, (9, 1), (1, 0))]
    assert audited([proof(9, 1, seq=5)], later, head_seq=5).drift == (Drift(A, Check.CHAIN_SPENT, 3, 8, seq=5),)


def test_corrections_are_all_that_the_journal_does_not_explain():
    twice = [*BROKEN, entry(4, (20, 1), (1, 0))]
    report = audited([proof(25, 1, seq=4), proof(1, 0, seq=6, counter=B)], twice, head_seq=4)
    # 6 appeared before entry 3, 10 before entry 4, 5 since; B has no entry at all.
    assert report.corrections == (Correction(A, -21, 4), Correction(B, -1, 6))
    assert audited([proof(3, 2, pending=0)], JOURNAL).corrections == (Correction(A, 0, 3),)
    assert audited([], JOURNAL).corrections == (Correction(A, 3, 3),)


def held(seq: int, after: tuple[int, int], delta: int, *, bookings: int, counter: Counter = A) -> Entry:
    """Half of a reservation that came to nothing."""
    status = Status.RESERVED if delta > 0 else Status.RELEASED
    return entry(seq, after, (0, delta), counter=counter, status=status, bookings=bookings)


# 1 booked, 6 held, 2 booked, 6 given back, 4 booked.
AROUND_A_VOIDED_ONE = [
    entry(1, (1, 0), (1, 0), bookings=1),
    held(2, (1, 6), 6, bookings=1),
    entry(3, (3, 6), (2, 0), bookings=2),
    held(4, (3, 0), -6, bookings=2),
    entry(5, (7, 0), (4, 0), bookings=3),
]


@pytest.mark.parametrize("dropped", [(), (2,), (4,), (2, 4), (1, 2), (1, 2, 4)])
def test_what_came_to_nothing_and_is_gone_is_no_drift_and_hides_none(dropped: tuple[int, ...]):
    def left(journal: list[Entry]) -> list[Entry]:
        return [entry for entry in journal if entry.seq not in dropped]

    journal = left(AROUND_A_VOIDED_ONE)
    assert audited([proof(7, 0, seq=5)], journal, head_seq=5) == Report(
        (), unproved=0, proved_in_part=int(1 in dropped)
    )
    assert audited([proof(8, 0, seq=5)], journal, head_seq=5).drift == (Drift(A, Check.SPENT, 7, 8),)
    # Somebody adds 9 by hand between the two bookings, whatever else is missing between them.
    by_hand = [*AROUND_A_VOIDED_ONE[:4], entry(5, (16, 0), (4, 0), bookings=3)]
    assert audited([proof(16, 0, seq=5)], left(by_hand), head_seq=5).drift == (
        Drift(A, Check.CHAIN_SPENT, 3, 12, seq=5),
    )
    # What is held wrongly shows without a history.
    wrong = audited([proof(7, 2, seq=5, pending=0)], journal, head_seq=5)
    assert Drift(A, Check.PENDING, 0, 2) in wrong.drift


def test_what_came_to_nothing_at_the_end_is_no_drift():
    journal = AROUND_A_VOIDED_ONE[:3]
    # Its release, seq 4, is gone; or so is the rest of the journal of a counter that is back at nothing.
    assert audited([proof(3, 0, seq=4)], journal, head_seq=4).drift == ()
    assert audited([], [held(1, (0, 6), 6, bookings=0)], head_seq=2).drift == ()


def test_a_booking_that_is_missing_is_told_from_what_came_to_nothing():
    """Seq 3 is lost: nobody knows what it booked, and on which counter."""
    journal = [entry for entry in AROUND_A_VOIDED_ONE if entry.seq != 3]
    report = audited([proof(7, 0, seq=5), proof(2, 0, seq=5, counter=B)], journal, head_seq=5)
    assert (report.drift, report.unproved, report.proved_in_part) == ((), 1, 1)


def test_how_much_is_proved():
    proofs = [proof(3, 0), proof(5, 0, counter=B)]
    assert audited(proofs, [*JOURNAL[1:]]).unproved == 1
    trimmed = audited([proof(3, 0)], JOURNAL[2:])
    assert (trimmed.drift, trimmed.unproved, trimmed.proved_in_part) == ((), 0, 1)
    settled = audited([proof(3, 0)], [repaired(3, (3, 0), (3, 0))])
    assert (settled.unproved, settled.proved_in_part) == (0, 1)


def test_entries_that_are_missing_explain_what_nobody_can_tell():
    """The record of seq 3 is lost, and with it whose counter it changed."""
    journal = [*JOURNAL[:2], entry(4, (5, 0), (2, 0)), entry(5, (6, 0), (1, 0))]
    assert audited([proof(6, 0, seq=5)], journal, head_seq=5).drift == ()
    assert audited([proof(6, 0, seq=5), proof(7, 0, seq=5, counter=B)], journal, head_seq=5).unproved == 1
    assert audited([proof(7, 0, seq=5)], journal, head_seq=5).drift == (Drift(A, Check.SPENT, 6, 7),)
