"""Proves that each counter of the destination shows what the source has spent, and what it has booked itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from budget_middleware.core.answers import CounterProof, Entry
from budget_middleware.core.model import Counter
from budget_middleware.core.units import Unit
from budget_middleware.core.windows import Period
from budget_middleware.operations.migrating.counters import CounterCopy
from budget_middleware.operations.migrating.following import PAGE
from budget_middleware.operations.migrating.sides import Side
from budget_middleware.operations.values import Figure, figure
from budget_middleware.stores.journals import journals_of


@dataclass(frozen=True, slots=True)
class ProofRow:
    """A counter at the end. ``source`` and ``own`` must add up to ``spent``, what the destination shows.

    ``own`` is what the destination's journal says that its own gateways and operators have booked; None where that does
    not reach back to its beginning.
    """

    account: str
    period: Period
    window: str
    unit: Unit
    source: Figure
    own: Figure | None
    spent: Figure
    is_equal: bool


@dataclass(frozen=True, slots=True)
class MigrationReport:
    """What has become of a migration.

    ``unproved`` counters are those without ``own``; ``unrenamed`` accounts keep the old hash of their key.
    ``recounts`` says how often entries of the source were gone before they were read, so that all counters were read.
    """

    counters: tuple[ProofRow, ...]
    limits: int
    unequal_limits: tuple[str, ...]
    unproved: int
    unrenamed: tuple[str, ...]
    recounts: int
    entries: int

    @property
    def is_equal(self) -> bool:
        return not self.unequal_limits and all(row.is_equal for row in self.counters)


async def prove(destination: Side, counters: CounterCopy) -> tuple[ProofRow, ...]:
    """Every counter that the source has, and those that only the destination has."""
    proofs = {proof.counter: proof for proof in await destination.ask(destination.store.proofs)}
    own = await _own_bookings(destination, proofs, counters)
    copied = counters.copied
    shown = [counter for counter in {*proofs, *copied} if counter.unit is not Unit.INFLIGHT]
    rows = []
    for counter in sorted(shown):
        source = copied[counter].amount if counter in copied else 0
        spent = proofs[counter].balance.spent if counter in proofs else 0
        if spent or source:
            rows.append(_row(counter, source=source, own=None if own is None else own.get(counter, 0), spent=spent))
    return tuple(rows)


def _row(counter: Counter, *, source: int, own: int | None, spent: int) -> ProofRow:
    unit = counter.unit
    return ProofRow(
        counter.account,
        counter.period,
        counter.window,
        unit,
        source=figure(source, unit),
        own=figure(own, unit),
        spent=figure(spent, unit),
        is_equal=own is None or source + own == spent,
    )


async def _own_bookings(
    destination: Side, proofs: Mapping[Counter, CounterProof], counters: CounterCopy
) -> dict[Counter, int] | None:
    """What the destination has booked without the migration, by its journal; None where bookings are missing there."""
    own: dict[Counter, int] = {}
    for store in (await destination.ask(lambda: journals_of(destination.store))).values():
        until_seq = (await destination.ask(store.head)).seq
        last: Entry | None = None
        while (after := last.seq if last else 0) < until_seq:
            page = await destination.ask(partial(store.journal, after_seq=after, count=PAGE))
            if not page:
                break
            for entry in page:
                if entry.bookings_before != (last.bookings if last else 0):
                    return None
                last, proof = entry, proofs.get(entry.counter)
                is_seen = entry.seq <= (proof.seen_at_seq if proof else until_seq)
                if is_seen and entry.reservation_id != counters.id_of(entry.counter):
                    own[entry.counter] = own.get(entry.counter, 0) + entry.spent_delta
    return own
