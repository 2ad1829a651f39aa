"""`audit`: whether every counter is what its journal and its reservations say."""

from argparse import Namespace
from typing import Any

from budget_middleware.cli.desk import Desk, on_state
from budget_middleware.cli.output import say, say_json, say_rows, usd
from budget_middleware.cli.parsing import add_command
from budget_middleware.core.audit import Audit, Report
from budget_middleware.middleware import retention_of
from budget_middleware.stores.base import Store

PAGE = 1_000


def add_to(commands: Any) -> None:
    add_command(
        commands,
        "audit",
        on_state(_audit),
        says="Hold every counter against its journal and its reservations; exit 1 if one differs.",
    )


async def _audit(desk: Desk, arguments: Namespace) -> int:
    counters, report = await _audited(desk.store, retention_of(desk.settings).counters_ms)
    reservations = len(await desk.store.holds())
    rows = [
        {
            "account": drift.counter.account,
            "period": drift.counter.period,
            "window": drift.counter.window,
            "what": drift.check,
            "expected_usd": usd(drift.expected_nanos),
            "found_usd": usd(drift.found_nanos),
            "seq": drift.seq,
        }
        for drift in report.drift
    ]
    if arguments.json:
        say_json({"counters": counters, "reservations": reservations, "drift": rows})
    else:
        say(f"{counters} counters, {reservations} reservations, {report.unproved} unproved, {len(rows)} drift")
        say_rows(rows, as_json=False, if_none="every counter adds up")
    return 1 if rows else 0


async def _audited(store: Store, forgotten_after_ms: int) -> tuple[int, Report]:
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
    return len(proofs), audit.report()


async def _is_trimmed(store: Store, seq: int) -> bool:
    oldest = await store.journal(after_seq=0, count=1)
    return not oldest or oldest[0].seq > seq + 1
