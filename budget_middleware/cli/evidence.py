"""What both stories are told from, as rows: amounts in USD, times as text, a trace for each line."""

from collections.abc import Callable

from budget_middleware.cli.output import Row, iso, link, usd
from budget_middleware.core.model import Entry
from budget_middleware.core.money import usd_from_nanos
from budget_middleware.core.refusals import LoggedRefusal
from budget_middleware.stores.base import Store
from budget_middleware.telemetry.traceparent import trace_ids

PAGE = 1_000


async def entries_of(store: Store, is_wanted: Callable[[Entry], bool]) -> list[Entry]:
    """The journal entries that are wanted, the oldest first, as far as the journal reaches back."""
    found: list[Entry] = []
    after_seq, until_seq = 0, (await store.head()).seq
    # What is written meanwhile is not waited for: others may write faster than this reads.
    while after_seq < until_seq and (page := await store.journal(after_seq=after_seq, count=PAGE)):
        found += filter(is_wanted, page)
        after_seq = page[-1].seq
    return found


def dollars(nanos: int) -> str:
    return f"{'-' if nanos < 0 else ''}${usd_from_nanos(abs(nanos))}"


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def trace_of(trace: str, template: str | None) -> Row:
    """The column that leads to the trace: its link where there is a template, else its id."""
    return link(trace, template) or {"trace_id": trace_ids(trace)[0] or None}


def why_refused(refusal: LoggedRefusal) -> str:
    """The counter that refused and its figures, in one line."""
    rejection = refusal.rejection
    account, period, window, _ = rejection.target.counter
    told = (
        f"{account} {period} {window}: limit {dollars(rejection.limit)},"
        f" spent {dollars(rejection.balance.spent)}, reserved {dollars(rejection.balance.reserved)},"
        f" short by {dollars(rejection.shortfall)}"
    )
    told += f", for {refusal.model}" if refusal.model else ""
    return told if refusal.is_enforced else f"{told}; shadow mode: served all the same"


def refusal_row(refusal: LoggedRefusal, template: str | None) -> Row:
    """A refusal for JSON."""
    rejection = refusal.rejection
    account, period, window, _ = rejection.target.counter
    return {
        "time": iso(refusal.time_ms),
        "reservation_id": refusal.reservation_id,
        "accounts": list(refusal.accounts),
        "reason": "held" if rejection.is_held else "spent",
        "account": account,
        "period": period,
        "window": window,
        "limit_usd": usd(rejection.limit),
        "spent_usd": usd(rejection.balance.spent),
        "reserved_usd": usd(rejection.balance.reserved),
        "estimate_usd": usd(rejection.estimate),
        "model": refusal.model or None,
        "enforced": refusal.is_enforced,
        "times": refusal.times,
        **trace_of(refusal.trace, None),
        **link(refusal.trace, template),
    }
