"""Sends the verb `grow` for answers that cost more than their holds. See `growth` for when and how much."""

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from typing import Final

from budget_middleware.core.answers import Answer
from budget_middleware.core.model import Balance, Target
from budget_middleware.core.statuses import Op, Status
from budget_middleware.core.units import Amounts, Unit
from budget_middleware.core.verbs import Grow
from budget_middleware.ledger.calls.verb_call import VerbCall, VerbCalls
from budget_middleware.ledger.holds.growth import Growth
from budget_middleware.ledger.holds.hold import Hold
from budget_middleware.ledger.local_ledger import LocalLedger
from budget_middleware.ledger.tasks import OwnedTasks
from budget_middleware.shared_timeout import SharedTimeout
from budget_middleware.stores.base import Store
from budget_middleware.stores.errors import StoreRefused, StoreUnavailable
from budget_middleware.telemetry import names
from budget_middleware.telemetry.traceparent import log_ids

_USED_BY_ANSWERS: Final = frozenset({Unit.USD, Unit.TOKENS})

_log = logging.getLogger("budget_middleware")


class Growing:
    """Grows the holds of one ledger. Each call is made once: the next growth or heartbeat makes up for a lost one."""

    def __init__(
        self,
        store: Store,
        *,
        calls: VerbCalls,
        tasks: OwnedTasks,
        timeout: SharedTimeout,
        local: LocalLedger,
        lease_ms: int,
    ) -> None:
        self._store = store
        self._calls = calls
        self._tasks = tasks
        self._timeout = timeout
        self._local = local
        self._lease_ms = lease_ms

    def begin(self, hold: Hold) -> None:
        """Grow the hold to what the answer costs so far, in a task of the ledger's own."""
        growth = hold.growth
        if growth is None:
            return
        growth.follow_answer()
        if growth.is_outgrown and not growth.is_asking:
            growth.is_asking = True
            self._tasks.spawn(self._grow(hold, growth))

    async def _grow(self, hold: Hold, growth: Growth) -> None:
        try:
            # Meanwhile the answer may outgrow the new amount too. Once it is over, its ending books the cost.
            is_answered = True
            while is_answered and growth.is_outgrown and hold.growth is growth:
                is_answered = await self._ask_once(hold, growth) is not None
        finally:
            growth.is_asking = False

    async def grow_and_look(self, hold: Hold) -> Target | None:
        """Grow the hold to what the answer costs so far, and wait: the first limit that is passed now, if one is.

        None too if the store does not answer in its time-out: what nobody knows stops nothing.
        """
        growth = hold.growth
        if growth is None:
            return None
        growth.follow_answer()
        # No cancellation of the request cuts the call off.
        asking = self._tasks.spawn(self._ask_once(hold, growth))
        await asyncio.wait((asking,))
        answer = None if asking.cancelled() or asking.exception() is not None else asking.result()
        if answer is None or answer.status is not Status.GROWN:
            return None
        return passed_limit(hold.targets, answer.balances)

    async def _ask_once(self, hold: Hold, growth: Growth) -> Answer | None:
        try:
            return await self.ask(hold, growth)
        except (StoreUnavailable, StoreRefused) as error:
            ids = log_ids(hold.id, hold.reserve_trace)
            _log.warning("%s costs more than it holds, and could not grow: %s", hold.id, error, extra=ids)
            return None

    async def grow_to(self, hold: Hold, nanos: int, *, reason: str) -> bool:
        """Grow the hold to at least this amount; whether it holds that now. If not, the next heartbeat tries again."""
        growth = hold.growth
        if growth is None:
            return False
        growth.want(nanos, reason=reason)
        if growth.is_outgrown:
            try:
                await self.ask(hold, growth)
            except (StoreUnavailable, StoreRefused):
                return False
        return growth.held_nanos >= nanos

    async def grow_by_age(self, hold: Hold) -> Answer | None:
        """For a heartbeat: grow by the age of the answer; None if there is only the lease to renew.

        Raises StoreUnavailable or StoreRefused.
        """
        growth = hold.growth
        if growth is None:
            return None
        growth.follow_age()
        if growth.is_asking or not growth.is_outgrown:
            return None
        growth.is_asking = True
        try:
            return await self.ask(hold, growth)
        finally:
            growth.is_asking = False

    async def ask(self, hold: Hold, growth: Growth) -> Answer:
        """Ask the store to hold the wanted amount and renew the lease. Raises StoreUnavailable or StoreRefused."""
        wanted = Amounts(usd=growth.wanted_nanos, tokens=growth.wanted_tokens)
        verb = Grow(hold.id, hold.counted(wanted), self._lease_ms, reason=growth.reason)
        call = VerbCall(
            self._calls,
            Op.GROW,
            reservation_id=hold.id,
            context=hold.context,
            reserve_trace=hold.reserve_trace,
            attributes=partial(_attributes, hold, verb),
        )
        verb.trace, verb.wants_entries = call.span.trace, call.span.is_recording
        try:
            with self._timeout.timeout():
                answer = await call.ask(self._store.grow(verb))
        except TimeoutError as error:
            call.finish(names.UNPROTECTED)
            raise StoreUnavailable(f"no answer within {self._timeout.timeout_s:g} s") from error
        except BaseException:
            call.finish(names.UNPROTECTED)
            raise
        # Where it held so much already, a copy of the call may have come first.
        call.finish(answer.status, is_overtaken=answer.status is Status.GROWN and not answer.written)
        self._take(answer, verb, hold, growth)
        return answer

    def _take(self, answer: Answer, verb: Grow, hold: Hold, growth: Growth) -> None:
        if answer.status is not Status.GROWN:
            growth.stop()
            return
        growth.held_nanos = max(growth.held_nanos, verb.to.usd)
        growth.held_tokens = max(growth.held_tokens, verb.to.tokens)
        hold.grown_to = hold.held._replace(usd=growth.held_nanos, tokens=growth.held_tokens)
        self._local.record(hold.targets, answer.balances)
        if not growth.has_grown:
            growth.has_grown = True
            self._calls.telemetry.metrics.count_grown(model=growth.model)


def passed_limit(targets: Sequence[Target], balances: Sequence[Balance]) -> Target | None:
    """The first counter of money or tokens, which an answer goes on to use, whose figures are past its limit."""
    for target, balance in zip(targets, balances, strict=False):
        limit = target.limit_at_most if target.unit in _USED_BY_ANSWERS else None
        if limit is not None and balance.spent + balance.reserved > limit:
            return target
    return None


def _attributes(hold: Hold, verb: Grow) -> names.Attributes:
    return {**hold.attributes(), **names.amounts_attributes(names.AMOUNT_USD, verb.to), names.REASON: verb.reason}
