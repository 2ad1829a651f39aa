"""Adjusts counters for an operator: repeats the verb until the store has decided it, which applies it once."""

import secrets
from collections.abc import Callable

from budget_middleware.core.model import Adjust, Answer, Op, Status, Target
from budget_middleware.core.units import Amounts
from budget_middleware.ledger.attempts import until_decided
from budget_middleware.ledger.deferred_spans import JOURNAL_PAGE
from budget_middleware.ledger.verb_call import VerbCalls
from budget_middleware.shared_timeout import SharedTimeout
from budget_middleware.stores.base import Store
from budget_middleware.telemetry import names


async def adjust(
    store: Store,
    targets: Callable[[], tuple[Target, ...]],
    *,
    amount: Amounts,
    any_window: bool,
    reason: str,
    id_: str,
    bill: str,
    calls: VerbCalls,
    time_limit: SharedTimeout,
) -> Answer:
    """Adjust; ``targets`` returns the counters of the current windows, again for each attempt.

    Raises StoreUnavailable or StoreRefused.
    """
    id_ = id_ or secrets.token_hex(16)
    call = calls.begin(
        Op.ADJUST,
        reservation_id=id_,
        attributes=lambda: {**names.amounts_attributes(names.AMOUNT_USD, amount), names.REASON: reason},
    )

    async def attempt() -> Answer:
        trace = call.span.trace
        verb = Adjust(id_, targets(), amount, any_window=any_window, trace=trace, reason=reason, bill=bill)
        return await call.ask(store.adjust(verb))

    try:
        answer = await until_decided(attempt, time_limit=time_limit)
    except BaseException:
        call.finish(names.UNPROTECTED)
        raise
    # The id is this call's own, so an attempt whose answer was lost has booked it.
    call.finish(Status.ADJUSTED, is_overtaken=answer.status is not Status.ADJUSTED)
    if answer.status is Status.ADJUSTED:
        return answer
    latest = await store.latest(count=JOURNAL_PAGE)
    entries = tuple(entry for entry in latest if entry.reservation_id == id_)
    return answer._replace(status=Status.ADJUSTED, entries=entries)
