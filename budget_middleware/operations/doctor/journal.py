"""How far back the journal reaches, in time: what `audit` and `explain` can prove depends on it."""

from dataclasses import replace

from budget_middleware.core.answers import Entry
from budget_middleware.operations.doctor.finding import Finding, Health
from budget_middleware.operations.values import iso
from budget_middleware.stores.base import Store
from budget_middleware.stores.journals import journals_of

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
RATE_ENTRIES = 1_000
"""The rate is that of so many of the last entries."""


async def journal_findings(store: Store, *, journal_max: int) -> list[Finding]:
    """Warns where the journal keeps less than a day; where every shard has one, only of those.

    StoreUnavailable or StoreRefused as for every call.
    """
    journals = await journals_of(store)
    found = {name: await journal_finding(journal, journal_max=journal_max) for name, journal in journals.items()}
    if "" in found:
        return [found[""]]
    short = {name: each for name, each in found.items() if each.status is not Health.OK}
    if not short:
        return [Finding("journal", Health.OK, f"each of {len(found)} shards keeps a day, or all that it had")]
    return [replace(each, message=f"that of shard {name}: {each.message}") for name, each in short.items()]


async def journal_finding(store: Store, *, journal_max: int) -> Finding:
    """The same of one journal."""
    head = await store.head()
    first = await _oldest_booking(store)
    if first is None:
        return Finding("journal", Health.OK, "no entry yet" if head.seq == 0 else "nothing was booked yet")
    latest = await store.latest(count=RATE_ENTRIES)
    passed_ms = max(1, head.now_ms - latest[0].time_ms)
    reach_ms = journal_max * passed_ms // len(latest)
    message = f"it reaches back to {iso(first.time_ms)} (seq {first.seq} of {head.seq})"
    if first.bookings_before == 0:
        message += ", and has the first booking"
    message += f"; at the rate of the last {len(latest):,} entries, {journal_max:,} reach back {_span_text(reach_ms)}"
    if len(latest) < RATE_ENTRIES or reach_ms >= DAY_MS:
        return Finding("journal", Health.OK, message)
    needed = len(latest) * DAY_MS // passed_ms
    fix = f"set BUDGET_JOURNAL_MAX={_rounded_up(needed)} for a day: older entries are no proof for audit and explain"
    return Finding("journal", Health.WARN, message, fix)


async def _oldest_booking(store: Store) -> Entry | None:
    """Pairs that came to nothing are kept elsewhere, and some are older than all that the journal still has."""
    after_seq = 0
    while page := await store.journal(after_seq=after_seq, count=RATE_ENTRIES):
        if found := next((entry for entry in page if entry.may_book), None):
            return found
        after_seq = page[-1].seq
    return None


def _span_text(ms: int) -> str:
    return f"{ms / DAY_MS:,.1f} days" if ms >= DAY_MS else f"{ms / HOUR_MS:.1f} hours"


def _rounded_up(entries: int) -> int:
    """To two digits, within what the setting accepts."""
    step: int = 10 ** max(0, len(str(entries)) - 2)
    return min(100_000_000, -(-entries // step) * step)
