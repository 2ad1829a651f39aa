"""What operators read, from the rows of a store's tables."""

from collections.abc import Iterable, Mapping, Sequence

from budget_middleware.core.answers import CounterProof, CounterView, Entry
from budget_middleware.core.model import Balance, Counter, Reservation
from budget_middleware.core.payers.accounts import kind_of
from budget_middleware.stores.tables import ByHand, CounterRow, Kind, Step

_EMPTY = CounterRow(Balance(), ByHand())


def counter_views(
    rows: Mapping[Counter, CounterRow], pending: Iterable[Reservation], *, now_ms: int
) -> list[CounterView]:
    """The counters in order, without what is held by leases that are over."""
    due: dict[Counter, int] = {}
    for reservation in pending:
        if reservation.is_due(now_ms):
            for target in reservation.targets:
                due[target.counter] = due.get(target.counter, 0) + reservation.held[target.place]
    return [
        CounterView(counter, Balance(balance.spent, balance.reserved - due.get(counter, 0)), by_hand.adjusted)
        for counter, (balance, by_hand) in sorted(rows.items())
    ]


def counter_proofs(
    rows: Mapping[Counter, CounterRow], pending: Iterable[Reservation], *, seq: int
) -> list[CounterProof]:
    """Each counter in order, with what is pending on it."""
    held: dict[Counter, list[int]] = {}
    for reservation in pending:
        for target in reservation.targets:
            held.setdefault(target.counter, []).append(reservation.held[target.place])
    # Of a counter that is gone its leases may be left, and should show.
    unwritten = {counter for counter, amounts in held.items() if any(amounts)}
    return [
        _proof(counter, rows.get(counter, _EMPTY), held.get(counter, ()), seq)
        for counter in sorted({*rows, *unwritten})
    ]


def _proof(counter: Counter, row: CounterRow, held: Sequence[int], seq: int) -> CounterProof:
    return CounterProof(
        counter,
        row.balance,
        row.by_hand.adjusted,
        pending=len(held),
        held=sum(held),
        seen_at_seq=seq,
    )


def missing_in_totals(totals: Mapping[Kind, int], pending: Iterable[Reservation]) -> dict[Kind, int]:
    """By how much each total is less than what is pending; nothing where all are right."""
    held = held_by_kind(pending)
    lacking = {kind: held.get(kind, 0) - totals.get(kind, 0) for kind in {*held, *totals}}
    return {kind: amount for kind, amount in lacking.items() if amount}


def held_by_kind(pending: Iterable[Reservation]) -> dict[Kind, int]:
    """What reservations hold of each unit on each kind of accounts, an account counted once whatever its periods."""
    held: dict[Kind, int] = {}
    for reservation in pending:
        for unit, account in {(target.unit, target.account) for target in reservation.targets}:
            kind = (unit, kind_of(account))
            held[kind] = held.get(kind, 0) + reservation.held.of(unit)
    return held


def live_holds(pending: Iterable[Reservation], *, now_ms: int) -> list[Reservation]:
    """Those whose lease is not over, the oldest first."""
    live = [reservation for reservation in pending if not reservation.is_due(now_ms)]
    return sorted(live, key=lambda reservation: (reservation.created_ms, reservation.id))


def entries_after(steps: Iterable[Step], seq: int, *, count: int) -> list[Entry]:
    """The first entries after a seq of steps, which come the oldest first."""
    entries: list[Entry] = []
    for step in steps:
        entries += [entry for entry in step.journal_entries() if entry.seq > seq]
        if len(entries) >= count:
            break
    return entries[:count]


def latest_entries(steps: Iterable[Step], *, count: int, account: str | None) -> list[Entry]:
    """The last entries (of an account), the oldest first, of steps that come the newest first."""
    entries: list[Entry] = []
    for step in steps:
        entries += [entry for entry in step.journal_entries()[::-1] if account in (None, entry.counter.account)]
        if len(entries) >= count:
            break
    return entries[:count][::-1]
