"""Reserves for requests: with fresh windows and limits, repeated until decided, and with no hold left behind.

Whatever becomes of an attempt whose answer was lost, the hold is either kept alive for its owner or released: a reserve
that is cancelled, or refused after a lost answer, leaves a tombstone in the store, so that a late copy holds nothing.

*To the last cent.* An estimate is more than a request is expected to cost, so the end of a budget would never be used.
Where what is left covers the expected cost, and nothing else is held on the counter that refused, the request asks once
more, for all that is left. No rule of a store knows of this: that much fits only while nothing else is held there, so
of several that try it one is admitted, and no budget is promised twice.
"""

import asyncio
import time
from collections.abc import Awaitable, Iterable
from functools import partial

from budget_middleware.core.answers import Answer
from budget_middleware.core.limits.limits import Claim
from budget_middleware.core.model import Target
from budget_middleware.core.statuses import Op, Status
from budget_middleware.core.units import Amounts, amounts_of
from budget_middleware.core.verbs import Release, Reserve
from budget_middleware.ledger.calls.attempts import until_decided
from budget_middleware.ledger.calls.verb_call import VerbCall, VerbCalls
from budget_middleware.ledger.endings.endings import Endings
from budget_middleware.ledger.holds.hold import Hold
from budget_middleware.ledger.holds.leases import LeaseKeeper
from budget_middleware.ledger.limits.layers import LimitLayers
from budget_middleware.ledger.limits.targets import TargetChooser
from budget_middleware.ledger.local_ledger import LocalLedger
from budget_middleware.ledger.sharing.refusal_log import RefusalLog
from budget_middleware.ledger.waiting.waiting import Caller, Ticket
from budget_middleware.shared_timeout import SharedTimeout
from budget_middleware.stores.base import Store
from budget_middleware.stores.errors import StoreAway, StoreRefused, StoreUnavailable, WrongServer
from budget_middleware.telemetry import LazyAttributes, names

# Python 3.11 takes ten times as long to find the member of an enum as a global.
_RESERVE, _RESERVED, _STALE_LIMITS = Op.RESERVE, Status.RESERVED, Status.STALE_LIMITS


class Reserving:
    """Reserves for one ledger."""

    def __init__(
        self,
        store: Store,
        *,
        calls: VerbCalls,
        layers: LimitLayers,
        chooser: TargetChooser,
        leases: LeaseKeeper,
        local: LocalLedger,
        refusals: RefusalLog,
        timeout: SharedTimeout,
        lease_ms: int,
        enforce: bool,
        endings: Endings,
    ) -> None:
        self._store = store
        self._calls = calls
        self._layers = layers
        self._chooser = chooser
        self._leases = leases
        self._local = local
        self._refusals = refusals
        self._timeout = timeout
        self._lease_ms = lease_ms
        self._enforce = enforce
        self._endings = endings

    async def reserve(self, hold: Hold, *, caller: Caller | None = None) -> Answer:
        """See `Ledger.reserve`."""
        ticket = None if caller is None else self._calls.waiting.ticket(caller)
        self._leases.add(hold)
        started_s, metrics = time.monotonic(), self._calls.telemetry.metrics
        call = VerbCall(
            self._calls, _RESERVE, reservation_id=hold.id, context=hold.context, attributes=hold.reserve_attributes
        )
        hold.reserve_trace = call.span.trace
        status, attributes, answer, asked = "cancelled", _NO_ATTRIBUTES, None, hold.asked
        try:
            if ticket is not None:
                await self._wait_behind_others(hold, ticket)
            answer = await until_decided(partial(self._attempt, hold, call), time_limit=self._timeout)
            if answer.rejection is not None:
                answer = await self._ask_again(hold, call, ticket, answer)
            status = answer.status
            if answer.rejection is not None:
                attributes = partial(names.rejection_attributes, answer.rejection)
            if (hold.watches or answer.rejection is not None) and answer.admits:
                hold.passed = self._calls.limit_watch.judge(hold, answer, call.span)
        except (StoreUnavailable, StoreRefused) as error:
            status, attributes = names.UNPROTECTED, names.because(str(error))
            self._extend_uncertain(hold, call, error, started_s=started_s if ticket is None else ticket.asked_s)
            raise
        except BaseException as error:
            self._drop_or_release(hold, call, error)
            raise
        finally:
            hold.is_uncertain = call.is_uncertain
            if ticket is not None:
                ticket.close(answer)
                attributes = self._record_wait(ticket, attributes, call)
            if call.span.is_recording:
                attributes = partial(_with_estimate, hold, asked, attributes)
                # A copy of the call may have come first, and nobody got its entries.
                call.finish(status, attributes, is_overtaken=status is Status.DUPLICATE)
            if metrics.is_received:
                seconds = time.monotonic() - started_s - ((ticket and ticket.waited_s) or 0)
                metrics.count_reserve(seconds=seconds, status=status, context=call.span.context)
        self._extend_or_release(hold, answer)
        return answer

    async def _wait_behind_others(self, hold: Hold, ticket: Ticket) -> None:
        # A look in passing: whose limits have to be looked up first asks the store, and waits after that.
        known = self._layers.known_claims(hold.payers, model=hold.model) if any(hold.asked) else None
        claims = () if known is None else known[0]
        await ticket.wait_behind_others(claim.account for claim in claims if hold.asked.of(claim.unit))

    async def _ask_again(self, hold: Hold, call: VerbCall, ticket: Ticket | None, answer: Answer) -> Answer:
        """After a refusal: when the request has waited for what is only held, or for the rest of the limit."""
        while True:
            if ticket is not None and await ticket.may_ask_again(answer):
                # It begins to hold something only now.
                hold.since_s = ticket.asked_s
            elif not call.is_uncertain and (left_nanos := hold.usable_rest(answer)):
                hold.asked = hold.asked._replace(usd=left_nanos)
            else:
                return answer
            answer = await until_decided(partial(self._attempt, hold, call), time_limit=self._timeout)

    def _record_wait(self, ticket: Ticket, attributes: LazyAttributes, call: VerbCall) -> LazyAttributes:
        """Count how a wait ended; the attributes of the span with it."""
        if ticket.waited_s is None or ticket.end is None:
            return attributes
        seconds, end = ticket.waited_s, ticket.end
        self._calls.telemetry.metrics.count_wait(seconds=seconds, end=end, context=call.span.context)
        return lambda: {**attributes(), names.WAIT_S: seconds, names.WAIT_END: str(end)}

    def _drop_or_release(self, hold: Hold, call: VerbCall, error: BaseException) -> None:
        """After an error that is not the store's, or for a caller who left: what may be held is given back."""
        if isinstance(error, asyncio.CancelledError):
            self._release(hold, "cancelled while reserving")
        elif call.is_uncertain:
            self._release(hold, "left while waiting")
        else:
            self._leases.drop(hold)

    def _extend_uncertain(self, hold: Hold, call: VerbCall, error: Exception, *, started_s: float) -> None:
        """No answer: what may have been reserved is the caller's to end, and its lease is kept until then."""
        if call.is_uncertain:
            self._leases.start_extending(hold)
        # Where only a limits source failed, the store was never asked.
        if isinstance(error, WrongServer) or (call.is_uncertain and isinstance(error, StoreUnavailable)):
            # All attempts together are one outage.
            self._calls.breaker.record_outage(began_s=started_s)

    def _extend_or_release(self, hold: Hold, answer: Answer) -> None:
        if answer.rejection is not None:
            self._refusals.add(hold, answer, answer.rejection)
            self._local.record((answer.rejection.target,), (answer.rejection.balance,))
        if hold.passed:
            self._refusals.add_passed(hold, answer)
        if answer.status is _RESERVED or answer.admits:
            # A repeat is admitted on the counters of the attempt whose answer was lost.
            hold.targets = answer.recorded.targets if answer.recorded else hold.targets
            self._local.record(hold.targets, answer.balances)
            self._leases.start_extending(hold)
            if hold.is_uncertain:
                self._calls.deferred_spans.export()
        elif hold.is_uncertain:
            # An earlier attempt that got no answer may still arrive; a tombstone makes it hold nothing.
            self._release(hold, "refused after a lost answer")
        else:
            self._leases.drop(hold)

    def _release(self, hold: Hold, reason: str) -> None:
        self._endings.begin(hold, Release(hold.id, reason=reason, wants_entries=False))

    def _attempt(self, hold: Hold, call: VerbCall) -> Awaitable[Answer]:
        breaker = self._calls.breaker
        is_allowed = not breaker.is_open or breaker.allows()
        may_be_known = not (self._layers.has_source or hold.other_models or call.status is _STALE_LIMITS)
        known = self._layers.known_claims(hold.payers, model=hold.model) if may_be_known else None
        if known is None:
            return self._look_up_and_ask(hold, call, is_allowed=is_allowed)
        return self._ask(hold, call, *known, is_allowed=is_allowed)

    async def _look_up_and_ask(self, hold: Hold, call: VerbCall, *, is_allowed: bool) -> Answer:
        if call.status is _STALE_LIMITS:
            await self._layers.refresh(hold.limits_version)
        claims = await self._claims(hold, may_ask=is_allowed)
        # In the same step as the claims: what is looked up may be of a newer version.
        return await self._ask(hold, call, claims, self._layers.version, is_allowed=is_allowed)

    def _ask(
        self, hold: Hold, call: VerbCall, claims: tuple[Claim, ...], limits_version: int, *, is_allowed: bool
    ) -> Awaitable[Answer]:
        chosen = self._chooser.choose(claims, now_ms=self._calls.monitor.time_ms())
        hold.targets, hold.watches, hold.limits_version = chosen.targets, chosen.watches, limits_version
        if chosen.watches:
            self._calls.limit_watch.remember(chosen.watches, limits_version=limits_version)
        if not is_allowed:
            raise StoreAway("the store is away, and was not asked")
        asked, charge, span = hold.asked, hold.expiry_charge, call.span
        if chosen.count_money_only:
            asked, charge = amounts_of((asked.usd, 0, 0, 0)), amounts_of((charge.usd, 0, 0, 0))
        else:
            asked, charge = hold.counted(asked), hold.counted(charge)
        verb = Reserve(
            hold.id,
            hold.targets,
            asked,
            self._lease_ms,
            expiry_charge=charge,
            enforce=self._enforce and hold.enforces,
            limits_version=limits_version,
            trace=span.trace,
            wants_entries=span.is_recording,
        )
        return call.ask(self._store.reserve(verb))

    async def _claims(self, hold: Hold, *, may_ask: bool) -> tuple[Claim, ...]:
        try:
            return await self._layers.claims(
                hold.payers, model=hold.model, other_models=hold.other_models, may_ask=may_ask
            )
        except (StoreUnavailable, StoreRefused, asyncio.CancelledError):
            # If the request is served anyway, its cost must be booked on these.
            claims = self._layers.claims_without_store(hold.payers, model=hold.model, other_models=hold.other_models)
            hold.targets = hold.targets or self.targets(claims)
            raise

    def targets(self, claims: Iterable[Claim]) -> tuple[Target, ...]:
        """The counters of claims in the windows of now."""
        return self._chooser.targets(claims, now_ms=self._calls.monitor.time_ms())


def _with_estimate(hold: Hold, asked: Amounts, attributes: LazyAttributes) -> names.Attributes:
    """Those of a reserve, with what it asked for in the end if the span does not say that: in which units, how much."""
    if hold.asked is asked and not hold.counts_more_than_money:
        return attributes()
    return {**names.amounts_attributes(names.ESTIMATE_USD, hold.counted(hold.asked)), **attributes()}


_NO_ATTRIBUTES: LazyAttributes = dict
