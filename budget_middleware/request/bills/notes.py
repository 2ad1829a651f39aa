"""What operators are told of a bill: its usage contradicts itself, a part of it has no price, or more was due."""

import logging

from budget_middleware.core.money import usd_from_nanos
from budget_middleware.ledger import Hold, Ledger
from budget_middleware.request.bills.bill import Bill
from budget_middleware.request.quotes.quote import Quote
from budget_middleware.stores.notes import Topic
from budget_middleware.telemetry.traceparent import log_ids

_log = logging.getLogger("budget_middleware")


def report_contradiction(ledger: Ledger, quote: Quote, bill: Bill) -> None:
    """Count a usage that contradicts itself, and note what it looks like: no figure of it, no text."""
    kind, _, fields = bill.contradiction.partition(": ")
    model = quote.metric_model
    ledger.telemetry.metrics.count_unreconciled(kind=kind, model=model)
    if ledger.add_note(Topic.USAGE, f"{model}: {kind} ({fields})"):
        _log.warning("a usage of %s contradicts itself (%s): booked at the larger reading", model, bill.contradiction)


def report_unpriced(ledger: Ledger, quote: Quote, bill: Bill) -> None:
    """Note what was used and has no price: it is missing from the bill."""
    model = quote.metric_model
    for what in sorted(bill.unpriced):
        if ledger.add_note(Topic.UNPRICED, f"{model}: {what}"):
            _log.warning("%s has no price for %s: served, and booked without it", model, what)


def report_late_cost(hold: Hold, *, booked_nanos: int, true_nanos: int) -> None:
    """Log a true cost that was seen after the answer was cut."""
    _log.warning(
        "%s was ended at $%s before its answer reported the true cost of $%s; the difference is not booked",
        hold.id,
        usd_from_nanos(booked_nanos),
        usd_from_nanos(true_nanos),
        extra=log_ids(hold.id, hold.reserve_trace),
    )
