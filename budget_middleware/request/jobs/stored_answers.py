"""Answers that a provider keeps and that broke off here: a later look at one shows what it has come to in the end.

    POST /responses, streamed ──> the stream names it, and breaks off ──> booked by BUDGET_ON_ABORT, and a fact is kept:
                                                                          what was booked for it, and on which counters
    GET /responses/ID ──> it is whole, with its usage ──> the difference is booked on these counters, once

Most providers stop when nobody reads any more. One that works on, and keeps the answer, would give it away to whoever
fetches it later. What is booked then is an adjustment whose id follows from the reservation's, by the one look that has
claimed it: no other look, now or later, books it again.
"""

import asyncio
import logging
import secrets
from contextlib import suppress

import msgspec

from budget_middleware.apis.protocol.base import Ask
from budget_middleware.apis.protocol.seen import Seen
from budget_middleware.core.costs.charges import CORRECTS, USAGE, Charge, End, Evidence
from budget_middleware.core.money import usd_from_nanos
from budget_middleware.core.units import Amounts
from budget_middleware.ledger import Job, Ledger
from budget_middleware.ledger.jobs.tickets import KEPT_LONGER_MS, fact_name
from budget_middleware.request.admission import Admitted
from budget_middleware.request.bills.bill import Bill
from budget_middleware.request.jobs.retries import RETRY_S
from budget_middleware.request.quotes.quote import Quote
from budget_middleware.request.quotes.shown_model import short
from budget_middleware.stores.errors import NO_ANSWER
from budget_middleware.stores.records.records import pack_targets, unpack_targets

_log = logging.getLogger("budget_middleware")


def bill_of_look(ledger: Ledger, seen: Seen, *, asked: str, estimate_nanos: int = 0) -> tuple[Bill, Evidence]:
    """The bill of an answer that is looked at, and what it says of its end."""
    # Who has answered, or where that has no price, as a custom agent's own name has none, what was asked.
    model = seen.model if seen.model and ledger.prices.resolve(seen.model) else asked
    bill = Bill(Quote(Ask(model=model), ledger.prices.resolve(model), estimate_nanos), ledger.prices)
    return bill, bill.evidence(seen, end=End.COMPLETE, is_error=False, output_began=True)


def keep_broken_off(ledger: Ledger, admitted: Admitted, *, seen: Seen, booked: Amounts, deadline_s: float) -> None:
    """Keep what was booked for an answer that broke off, if its provider may finish and keep it; nobody waits."""
    hold = admitted.hold
    if seen.stored is None or admitted.is_unprotected:
        return
    broken_off = _BrokenOff(
        hold.id,
        pack_targets(hold.targets),
        booked.usd,
        booked.tokens,
        model=short(admitted.quote.model),
        kept_ms=round(deadline_s * 1000) + KEPT_LONGER_MS,
    )
    name = _fact_of(Job(*seen.stored))
    ledger.tickets.closed.forget(name)
    ledger.run_in_background(_keep(ledger, name, broken_off))


async def _keep(ledger: Ledger, name: str, broken_off: "_BrokenOff") -> None:
    text = msgspec.json.encode(broken_off).decode()
    with suppress(*NO_ANSWER):
        await ledger.tickets.keep_fact(name, text, keep_ms=broken_off.kept_ms)


async def correct_broken_off(ledger: Ledger, job: Job, seen: Seen) -> None:
    """Book the difference, if the answer that is looked at broke off here and shows its usage now."""
    name, closed = _fact_of(job), ledger.tickets.closed
    if seen.continues_unread or closed.has(name):
        return
    try:
        known = _unpacked((await ledger.tickets.look_up_facts([name])).get(name))
    except NO_ANSWER:
        return
    if known is None:
        closed.add_unknown(name)
        return
    bill, evidence = bill_of_look(ledger, seen, asked=known.model)
    if evidence.actual_nanos is None:
        return
    charge = Charge(evidence.actual_nanos, USAGE)
    more = Amounts(charge.nanos - known.usd, bill.tokens(charge, seen, ledger.tokens_counted) - known.tokens)
    if await _correct(ledger, known, more, bill.packed(charge)):
        closed.add_ended(name)


async def _correct(ledger: Ledger, known: "_BrokenOff", more: Amounts, bill: str) -> bool:
    """Whether it is corrected, by this look or by another one: of all, one does."""
    # The same for each try: who has claimed it, where the answer to that was lost, has claimed it; and it is done once.
    claim, id_ = secrets.token_hex(8), fact_name("correction", known.id)
    targets, is_over = unpack_targets(known.targets), False
    is_changed = any(more.of(target.unit) for target in targets)
    try:
        for delay_s in (0.0, *RETRY_S):
            await asyncio.sleep(delay_s)
            with suppress(*NO_ANSWER):
                is_ours = await ledger.tickets.keep_fact(fact_name("corrected", known.id), claim, keep_ms=known.kept_ms)
                if is_ours and is_changed:
                    reason = f"{CORRECTS}{known.id}"
                    await ledger.adjust((), amount=more, targets=targets, reason=reason, id_=id_, bill=bill)
                is_over = True
                break
    finally:
        # Also where a shutdown cuts it off.
        if is_changed and not is_over:
            usd = usd_from_nanos(more.usd)
            _log.warning("the store gives no answer: $%s beyond what %s has booked are not booked", usd, known.id)
    return is_over


def _fact_of(job: Job) -> str:
    return fact_name("broken off", job.api, job.id)


class _BrokenOff(msgspec.Struct, frozen=True, gc=False):
    """What is kept of an answer that broke off: its reservation, what was booked for it, and on which counters."""

    id: str
    targets: str
    usd: int
    tokens: int
    model: str
    kept_ms: int
    v: int = 1


def _unpacked(text: str | None) -> _BrokenOff | None:
    """None for what is no such fact, or one of a newer version."""
    with suppress(ValueError):
        known = msgspec.json.decode(text or "", type=_BrokenOff)
        return known if known.v == 1 else None
    return None
