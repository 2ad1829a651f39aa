"""Compares counters with what should explain them: their journal, their pending reservations, and zero.

A fold over the journal that is safe on a live system: every proof has the seq at which it was read, and
what was written after that is left to the next audit. Nothing is called drift that has another explanation
(an entry that was trimmed, a counter that was forgotten in its time).

Gaps. The records of a reservation that came to nothing leave the journal early, so a seq that is missing proves no
damage. Such records never change *spent*, and those that may are numbered in a row (``Entry.bookings``). So two
things are known at any entry: whether a booking is missing before it, after which nobody knows what *spent*
should be; and whether any entry is missing, after which nobody knows what *reserved* should be. *spent* is held
against the journal across all other gaps. *reserved* needs no history: it is the sum of what is pending (I2).
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain
from typing import NamedTuple

from budget_middleware.core.answers import CounterProof, Entry
from budget_middleware.core.model import Balance, Counter
from budget_middleware.core.statuses import Status
from budget_middleware.core.windows import Period


class Check(StrEnum):
    """What was compared, and failed."""

    SPENT = "spent"
    """The journal's last entry leads to another *spent* than the counter shows."""
    RESERVED = "reserved"
    CHAIN_SPENT = "chain_spent"
    """A journal entry begins with another *spent* than the one before it ended with."""
    CHAIN_RESERVED = "chain_reserved"
    PENDING = "pending"
    """*reserved* is not the sum of the pending reservations (I2)."""
    NEGATIVE_SPENT = "negative_spent"
    """*spent* without adjustments is below 0 (I1)."""
    NEGATIVE_RESERVED = "negative_reserved"


@dataclass(frozen=True, slots=True)
class Drift:
    """One figure of a counter that is not what explains it; ``seq`` names the entry where a chain breaks."""

    counter: Counter
    check: Check
    expected: int
    found: int
    seq: int | None = None


@dataclass(frozen=True, slots=True)
class Correction:
    """What *spent* of a counter lacks (negative: shows too much) of what its journal explains up to that seq."""

    counter: Counter
    spent: int
    found_at_seq: int


@dataclass(frozen=True, slots=True)
class Report:
    """What an audit found, and how much it proved.

    Of ``unproved`` counters the journal has no entry any more; only I1 and I2 were checked. Those ``proved_in_part``
    add up from their oldest entry on; what they showed before it is taken as it was. All others add up from zero.
    ``corrections`` has one for each counter with drift.
    """

    drift: tuple[Drift, ...]
    unproved: int
    corrections: tuple[Correction, ...] = ()
    proved_in_part: int = 0


def joined_reports(reports: Sequence[Report]) -> Report:
    """One of several ledgers, none of which shares a counter with another."""
    return Report(
        tuple(chain.from_iterable(report.drift for report in reports)),
        sum(report.unproved for report in reports),
        tuple(chain.from_iterable(report.corrections for report in reports)),
        sum(report.proved_in_part for report in reports),
    )


class _Expected(NamedTuple):
    """Where the journal leads a counter; None: it does not say."""

    spent: int | None
    reserved: int | None


class Audit:
    """Takes the proofs first, then the journal from its oldest entry on, in pages.

    ``since`` is then the oldest entry. ``head_seq`` and ``now_ms`` are the store's last seq and time *before* the
    proofs were read; a counter of a period may be gone ``forgotten_after_ms`` after its last change, and not sooner.
    """

    def __init__(
        self, proofs: Iterable[CounterProof], *, head_seq: int, now_ms: int, forgotten_after_ms: Callable[[Period], int]
    ) -> None:
        self._proofs = {proof.counter: proof for proof in proofs}
        self._head_seq = head_seq
        self._now_ms = now_ms
        self._forgotten_after_ms = forgotten_after_ms
        self._first: dict[Counter, Entry] = {}
        self._last: dict[Counter, Entry] = {}
        self._breaks: defaultdict[Counter, list[Drift]] = defaultdict(list)
        # A journal that has the first booking says how every counter began; so does an empty one of an unused store.
        self._has_all_bookings = head_seq == 0
        # From this seq on no entry at all is missing.
        self._unbroken_from = 1
        self._read: Entry | None = None
        self.since: Entry | None = None

    @property
    def needed_seq(self) -> int:
        """How far the journal has to be read: what was written later is not held against any proof."""
        return max((proof.seen_at_seq for proof in self._proofs.values()), default=self._head_seq)

    def add(self, entries: Iterable[Entry]) -> None:
        """The next entries of the journal, oldest first."""
        for entry in entries:
            self._record_gap(entry)
            proof = self._proofs.get(entry.counter)
            if entry.seq <= (proof.seen_at_seq if proof else self._head_seq):
                if entry.status is Status.REPAIRED:
                    # What was broken before is in this entry's figures: the chain begins again with them.
                    self._breaks.pop(entry.counter, None)
                else:
                    self._breaks[entry.counter] += self._chain_breaks(entry)
                self._first.setdefault(entry.counter, entry)
                self._last[entry.counter] = entry

    def _record_gap(self, entry: Entry) -> None:
        """Of bookings that are missing nobody knows whose they were: where the journal led before proves nothing."""
        before, self._read = self._read, entry
        if entry.seq > (before.seq if before else 0) + 1:
            self._unbroken_from = entry.seq
        if before is None:
            self.since = entry
            self._has_all_bookings = entry.bookings_before == 0
        elif entry.bookings_before != before.bookings:
            self._has_all_bookings = False
            self._first.clear()
            self._last.clear()

    def report(self) -> Report:
        """What was found in all entries added so far."""
        drift = list(chain.from_iterable(self._breaks.values()))
        for proof in self._proofs.values():
            drift += _differences(proof.counter, self._journalled(proof.counter, proof.seen_at_seq), proof.balance)
            drift += _contradictions(proof)
        for counter, last in self._last.items():
            if counter not in self._proofs and not self._may_be_forgotten(last, self._now_ms):
                drift += _differences(counter, self._journalled(counter, self._head_seq), Balance())
        drift.sort(key=lambda found: (found.counter, found.seq or 0))
        return Report(
            tuple(drift),
            unproved=sum(self._journalled(counter, 0).spent is None for counter in self._proofs),
            corrections=tuple(self._corrections(drift)),
            proved_in_part=sum(
                not _begins_at_zero(self._first[counter]) for counter in self._proofs if counter in self._first
            ),
        )

    def _corrections(self, drift: Iterable[Drift]) -> Iterator[Correction]:
        lacking: dict[Counter, int] = {}
        for found in drift:
            is_unexplained = found.check in (Check.SPENT, Check.CHAIN_SPENT)
            lack = found.expected - found.found if is_unexplained else 0
            lacking[found.counter] = lacking.get(found.counter, 0) + lack
        for counter, lack in lacking.items():
            proof = self._proofs.get(counter)
            yield Correction(counter, lack, proof.seen_at_seq if proof else self._head_seq)

    def _journalled(self, counter: Counter, at_seq: int) -> _Expected:
        """Where the journal leads a counter at a seq, as far as it says."""
        last = self._last.get(counter)
        is_read_to_the_end = (self._read.seq if self._read else 0) >= at_seq
        if last is None:
            spent = 0 if self._has_all_bookings else None
            is_whole = self._has_all_bookings and self._unbroken_from == 1 and is_read_to_the_end
            return _Expected(spent, 0 if is_whole else None)
        is_unbroken = last.seq >= self._unbroken_from and is_read_to_the_end
        return _Expected(last.spent, last.reserved if is_unbroken else None)

    def _chain_breaks(self, entry: Entry) -> Iterator[Drift]:
        last = self._last.get(entry.counter)
        if last is not None and self._may_be_forgotten(last, entry.time_ms):
            return
        before = Balance(entry.spent_before, entry.reserved_before)
        yield from _differences(
            entry.counter,
            self._journalled(entry.counter, entry.seq),
            before,
            checks=(Check.CHAIN_SPENT, Check.CHAIN_RESERVED),
            seq=entry.seq,
        )

    def _may_be_forgotten(self, last: Entry, time_ms: int) -> bool:
        return time_ms - last.time_ms >= self._forgotten_after_ms(last.counter.period)


def _begins_at_zero(first: Entry) -> bool:
    """Whether nothing came before the oldest entry of a counter that is left. A repair begins with what it found."""
    return first.spent_before == 0 and first.status is not Status.REPAIRED


def _differences(
    counter: Counter,
    expected: _Expected,
    found: Balance,
    *,
    checks: tuple[Check, Check] = (Check.SPENT, Check.RESERVED),
    seq: int | None = None,
) -> Iterator[Drift]:
    of_spent, of_reserved = checks
    if expected.spent is not None and found.spent != expected.spent:
        yield Drift(counter, of_spent, expected.spent, found.spent, seq)
    if expected.reserved is not None and found.reserved != expected.reserved:
        yield Drift(counter, of_reserved, expected.reserved, found.reserved, seq)


def _contradictions(proof: CounterProof) -> Iterator[Drift]:
    """I2 and I1, which need no journal."""
    reserved, booked = proof.balance.reserved, proof.balance.spent - proof.adjusted
    if reserved != proof.held:
        yield Drift(proof.counter, Check.PENDING, proof.held, reserved)
    if booked < 0:
        yield Drift(proof.counter, Check.NEGATIVE_SPENT, 0, booked)
    if reserved < 0:
        yield Drift(proof.counter, Check.NEGATIVE_RESERVED, 0, reserved)
