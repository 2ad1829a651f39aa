"""`audit`: whether every counter is what its journal and its reservations say, and with --repair, that it is."""

from argparse import Namespace
from collections.abc import Iterator, Sequence
from typing import Any

from budget_middleware.cli.desk import Desk, on_state
from budget_middleware.cli.output import Row, iso, say, say_json, say_rows, usd
from budget_middleware.cli.parsing import add_command
from budget_middleware.cli.repairing import fix_of, repair
from budget_middleware.core.audit import Audit, Damage, Drift, Report
from budget_middleware.core.model import Entry
from budget_middleware.opening import retention_of
from budget_middleware.stores.base import Store

PAGE = 1_000


def add_to(commands: Any) -> None:
    audit = add_command(
        commands,
        "audit",
        on_state(_audit),
        says="Hold every counter against its journal and its reservations; exit 1 if one differs.",
    )
    audit.add_argument(
        "--repair", action="store_true", help="book what is missing, as entries of the journal, then audit again"
    )


async def _audit(desk: Desk, arguments: Namespace) -> int:
    counters_ms = retention_of(desk.settings).counters_ms
    repaired: dict[str, list[Row]] = {}
    if arguments.repair:
        repaired = await _repaired(desk, counters_ms)
    damage = [_damage_row(found) for found in await desk.store.damage()]
    counters, report, since = await _audited(desk.store, counters_ms)
    reservations = len(await desk.store.holds())
    drift = [_drift_row(found) for found in report.drift]
    if arguments.json:
        proved = {
            "unproved": report.unproved,
            "proved_in_part": report.proved_in_part,
            "journal_since": iso(since.time_ms) if since else None,
        }
        told = {"counters": counters, "reservations": reservations, "drift": drift, "damage": damage}
        say_json({**told, **proved, **repaired})
    else:
        for rows in repaired.values():
            _say_some(rows)
        say(f"{counters} counters, {reservations} reservations, {report.unproved} unproved, {len(drift)} drift")
        _say_some(drift)
        for line in _claims(counters, report, since):
            say(line)
        _say_some(damage)
    return 1 if drift or damage else 0


def _claims(counters: int, report: Report, since: Entry | None) -> Iterator[str]:
    """What the audit has proved, and from when on."""
    n_from_zero = counters - report.unproved - report.proved_in_part
    if report.drift:
        return
    if n_from_zero == counters:
        yield "every counter adds up"
        return
    if n_from_zero:
        yield f"{n_from_zero} of {counters} counters add up from zero"
    if report.proved_in_part and since:
        yield (
            f"{report.proved_in_part} of {counters} counters add up from their oldest entry on; the journal begins at"
            f" {iso(since.time_ms)} (seq {since.seq}), and what they showed before is taken as it was"
        )
    if report.unproved:
        yield (
            f"{report.unproved} of {counters} counters are unproved: the journal has no entry of theirs any more, so"
            " only what is pending on them was checked; BUDGET_JOURNAL_MAX says how many entries it keeps"
        )


def _say_some(rows: Sequence[Row]) -> None:
    if rows:
        say_rows(rows, as_json=False, if_none="")


async def _repaired(desk: Desk, counters_ms: int) -> dict[str, list[Row]]:
    mended = [found for found in await desk.store.damage(mend=True) if found.flaw.is_mendable]
    _, report, _ = await _audited(desk.store, counters_ms)
    entries = await repair(desk, report.corrections)
    return {
        "repaired": [_entry_row(entry) for entry in entries],
        "mended": [{"key": found.key, "what": found.flaw} for found in mended],
    }


def _entry_row(entry: Entry) -> Row:
    return {
        "seq": entry.seq,
        "account": entry.counter.account,
        "period": entry.counter.period,
        "window": entry.counter.window,
        "spent_before_usd": usd(entry.spent_before),
        "spent_usd": usd(entry.spent),
        "reserved_before_usd": usd(entry.reserved_before),
        "reserved_usd": usd(entry.reserved),
    }


def _drift_row(drift: Drift) -> Row:
    return {
        "account": drift.counter.account,
        "period": drift.counter.period,
        "window": drift.counter.window,
        "what": drift.check,
        "expected_usd": usd(drift.expected),
        "found_usd": usd(drift.found),
        "seq": drift.seq,
    }


def _damage_row(damage: Damage) -> Row:
    return {"key": damage.key, "what": damage.flaw, "fix": fix_of(damage)}


async def _audited(store: Store, forgotten_after_ms: int) -> tuple[int, Report, Entry | None]:
    """How many counters there are, what was found, and the oldest entry that was read."""
    head = await store.head()
    proofs = await store.proofs()

    def begin() -> Audit:
        return Audit(proofs, head_seq=head.seq, now_ms=head.now_ms, forgotten_after_ms=forgotten_after_ms)

    audit, after_seq = begin(), 0
    while after_seq < audit.needed_seq and (page := await store.journal(after_seq=after_seq, count=PAGE)):
        if page[0].seq > after_seq + 1 and await _is_trimmed(store, after_seq):
            audit = begin()  # It was trimmed faster than it was read: what came before proves nothing any more.
        audit.add(page)
        after_seq = page[-1].seq
    return len(proofs), audit.report(), audit.since


async def _is_trimmed(store: Store, seq: int) -> bool:
    oldest = await store.journal(after_seq=0, count=1)
    return not oldest or oldest[0].seq > seq + 1
