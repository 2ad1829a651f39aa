"""`Ledger.reservation`: a budget for a block of code without an HTTP request, in workers, batch jobs and cron."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Protocol

from budget_middleware.core.answers import Answer
from budget_middleware.core.costs.bill import Amount, AmountKind
from budget_middleware.core.costs.bill_packing import pack
from budget_middleware.core.costs.usage import TokensCounted
from budget_middleware.core.limits.period_words import for_window
from budget_middleware.core.model import Rejection
from budget_middleware.core.money import MAX_NANOS, nanos_from_usd
from budget_middleware.core.payers.accounts import GLOBAL, KEY, KIND, MODEL, encode_subject, is_key_subject
from budget_middleware.core.payers.payers import encode_named
from budget_middleware.core.units import Amounts, Unit, format_figure
from budget_middleware.ledger.endings.owed import AnswerFuture
from budget_middleware.ledger.holds.growth import Growth
from budget_middleware.ledger.holds.handle import BudgetHandle
from budget_middleware.ledger.holds.hold import Hold
from budget_middleware.prices import PriceBook
from budget_middleware.stores.errors import StoreRefused, StoreUnavailable
from budget_middleware.telemetry import Telemetry


class BudgetRejected(Exception):
    """A reservation was refused; no counter has changed.

    `is_held`: only what others hold stands in the way, so the same reservation may succeed later. `rejection` names
    the counter and its figures, None where the store gave another answer, which is the message then.
    """

    def __init__(self, answer: Answer) -> None:
        rejection = answer.rejection
        super().__init__(_described(rejection) if rejection else f"the budget store answered {answer.status}")
        self.rejection = rejection

    @property
    def is_held(self) -> bool:
        return self.rejection is not None and self.rejection.is_held


def hold_for(
    accounts: Mapping[str, str | Sequence[str]], *, estimate_usd: str | int | Decimal, estimate_tokens: int, model: str
) -> Hold:
    """A hold of an amount on accounts by kind; ValueError, in one line, for what cannot be one."""
    for kind, subject in accounts.items():
        if not KIND.fullmatch(kind) or kind in (GLOBAL, MODEL):
            raise ValueError(f"{kind!r} is no kind of account that can be charged here; accepted are such as key, team")
        # Not repeated in the message: it may be a token, which must never be stored.
        if kind == KEY and not (isinstance(subject, str) and is_key_subject(subject)):
            raise ValueError("the subject of a key is 16 hex digits, which `budget-middleware key-id` prints")
    nanos = nanos_from_usd(estimate_usd)
    if nanos < 0:
        raise ValueError(f"{estimate_usd!r}: an estimate is 0 or more")
    if type(estimate_tokens) is not int or not 0 <= estimate_tokens <= MAX_NANOS:
        raise ValueError(f"{estimate_tokens!r}: an estimate of tokens is a whole number of 0 or more")
    payers = {kind: encode_named(kind, named) for kind, named in accounts.items()}
    asked = Amounts(nanos, estimate_tokens, requests=1, inflight=1)
    return Hold(payers, asked, model=encode_subject(model) if model else "")


def _described(rejection: Rejection) -> str:
    account, period, window, unit = rejection.target.counter
    return (
        f"{account} {for_window(period, window)}: limit {format_figure(rejection.limit, unit)}, "
        f"spent {format_figure(rejection.balance.spent, unit)}, "
        f"reserved {format_figure(rejection.balance.reserved, unit)}, "
        f"estimate {format_figure(rejection.estimate, unit)}"
    )


class ReservationHandle(BudgetHandle):
    """A reservation of `Ledger.reservation`, as its block sees it."""

    def __init__(self, ledger: "_Ledger", hold: Hold) -> None:
        super().__init__(hold.id, ledger.prices, tokens_counted=ledger.tokens_counted)
        self._ledger = ledger
        self._hold = hold

    async def grow(self, usd: str | int | Decimal) -> bool:
        """Hold at least so much in all from now on, whatever the limits; what is held is never lowered.

        False where the store gave no answer: the next heartbeat tries again. ValueError for what is no amount of 0 or
        more, RuntimeError once the block has ended. To be awaited where the block runs, not in another thread.
        """
        nanos = nanos_from_usd(usd)
        if nanos < 0:
            raise ValueError(f"{usd!r}: an amount to hold is 0 or more")
        if self._has_ended:
            raise RuntimeError(f"reservation {self.reservation_id} has ended; it holds nothing any more")
        return await self._ledger.grow_to(self._hold, nanos, reason="asked for by the app")


class _Ledger(Protocol):
    prices: PriceBook
    tokens_counted: TokensCounted
    telemetry: Telemetry

    async def reserve(self, hold: Hold) -> Answer: ...
    async def grow_to(self, hold: Hold, nanos: int, *, reason: str) -> bool: ...
    def finalize(self, hold: Hold, *, actual: Amounts, reason: str, bill: str) -> AnswerFuture: ...
    def release(self, hold: Hold, *, reason: str) -> AnswerFuture: ...


@asynccontextmanager
async def reserved(ledger: _Ledger, hold: Hold) -> AsyncGenerator[ReservationHandle, None]:
    """Reserve, run the block, and book what it added; see `Ledger.reservation`."""
    try:
        answer = await ledger.reserve(hold)
    except (StoreUnavailable, StoreRefused):
        ledger.release(hold, reason="store away")
        raise
    if not answer.admits:
        raise BudgetRejected(answer)
    handle = ReservationHandle(ledger, hold)
    model = _metric_model(ledger, hold)
    hold.growth = Growth(
        None,
        held_nanos=hold.asked.usd,
        held_tokens=hold.asked.tokens if hold.counts(Unit.TOKENS) else None,
        model=model,
        added=handle,
    )
    hold.abort = lambda _: _end_block(ledger, hold, handle, failed=True)
    failed = True
    try:
        yield handle
        failed = False
    finally:
        # Unless it was ended by its abort rule before.
        if hold.abort is not None:
            # A second cancellation ends the wait, not the ending.
            await _end_block(ledger, hold, handle, failed=failed)


def _end_block(ledger: _Ledger, hold: Hold, handle: BudgetHandle, *, failed: bool) -> AnswerFuture:
    hold.abort = hold.growth = None
    added_nanos = handle.end()
    if failed and not added_nanos and not (handle.added_tokens and hold.counts(Unit.TOKENS)):
        return ledger.release(hold, reason="failed")
    model = _metric_model(ledger, hold)
    ledger.telemetry.metrics.count_cost(actual_nanos=added_nanos, estimate_nanos=hold.asked.usd, model=model)
    bill = pack(nanos=added_nanos, amounts=[Amount(AmountKind.APP_TOLD, added_nanos)]) if added_nanos else ""
    actual = Amounts(added_nanos, handle.added_tokens, requests=1)
    return ledger.finalize(hold, actual=actual, reason="added", bill=bill)


def _metric_model(ledger: _Ledger, hold: Hold) -> str:
    """Names of the price book only, for their number is bounded."""
    rates = ledger.prices.resolve(hold.model)
    return (rates.model if rates else "") or "other"
