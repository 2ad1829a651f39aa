"""Adjusts counters for an operator: repeats the verb until the store has decided it, which applies it once."""

import secrets
from collections.abc import Awaitable, Callable

from msgspec.structs import replace

from budget_middleware.core.answers import Answer
from budget_middleware.core.model import Target
from budget_middleware.core.statuses import Op, Status
from budget_middleware.core.units import Amounts
from budget_middleware.core.verbs import Adjust, Transfer
from budget_middleware.ledger.calls.attempts import until_decided
from budget_middleware.ledger.calls.deferred_spans import JOURNAL_PAGE
from budget_middleware.ledger.calls.verb_call import VerbCall, VerbCalls
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
    call = _begin(Op.ADJUST, id_, amount, reason, calls)

    async def attempt() -> Answer:
        trace = call.span.trace
        verb = Adjust(id_, targets(), amount, any_window=any_window, trace=trace, reason=reason, bill=bill)
        return await call.ask(store.adjust(verb))

    return await _applied(attempt, Status.ADJUSTED, id_, store, call=call, time_limit=time_limit)


async def transfer(
    store: Store,
    parties: Callable[[], tuple[Target, Target]],
    *,
    amount: Amounts,
    any_window: bool,
    reason: str,
    calls: VerbCalls,
    time_limit: SharedTimeout,
) -> Answer:
    """Transfer; ``parties`` returns who gives and who gets, again for each attempt. The answer may be REJECTED.

    Raises as `adjust`.
    """
    id_ = secrets.token_hex(16)
    call = _begin(Op.TRANSFER, id_, amount, reason, calls)

    async def attempt() -> Answer:
        source, destination = parties()
        verb = Transfer(
            id_, (source,), (destination,), amount, any_window=any_window, trace=call.span.trace, reason=reason
        )
        return await call.ask(store.transfer(verb))

    return await _applied(attempt, Status.TRANSFERRED, id_, store, call=call, time_limit=time_limit)


def _begin(op: Op, id_: str, amount: Amounts, reason: str, calls: VerbCalls) -> VerbCall:
    return VerbCall(
        calls,
        op,
        reservation_id=id_,
        attributes=lambda: {**names.amounts_attributes(names.AMOUNT_USD, amount), names.REASON: reason},
    )


async def _applied(
    attempt: Callable[[], Awaitable[Answer]],
    done: Status,
    id_: str,
    store: Store,
    *,
    call: VerbCall,
    time_limit: SharedTimeout,
) -> Answer:
    """The decision, with the entries of whichever attempt was applied; the call's span ends with it."""
    try:
        answer = await until_decided(attempt, time_limit=time_limit)
    except BaseException:
        call.finish(names.UNPROTECTED)
        raise
    if answer.rejection is not None:
        rejection = answer.rejection
        call.finish(answer.status, lambda: names.rejection_attributes(rejection))
        return answer
    # The id is this call's own, so an attempt whose answer was lost has booked it.
    call.finish(done, is_overtaken=answer.status is not done)
    if answer.status is done:
        return answer
    latest = await store.latest(count=JOURNAL_PAGE)
    entries = tuple(entry for entry in latest if entry.reservation_id == id_)
    return replace(answer, status=done, entries=entries)
