"""The calls that may expire leases: heartbeats and sweeps, and what an operator asks for."""

import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from budget_middleware.core.answers import Answer
from budget_middleware.core.statuses import Op, Status
from budget_middleware.core.units import Unit
from budget_middleware.core.verbs import Expire, Extend
from budget_middleware.ledger.calls.verb_call import VerbCall, VerbCalls
from budget_middleware.ledger.growing import Growing
from budget_middleware.ledger.holds.hold import Hold
from budget_middleware.shared_timeout import SharedTimeout
from budget_middleware.stores.base import Store
from budget_middleware.stores.errors import StoreUnavailable
from budget_middleware.telemetry import names
from budget_middleware.telemetry.traceparent import log_ids

SWEPT_AT_ONCE = 128
"""The span of a sweep is linked to the reserves of what it expired, and an SDK keeps so many links of a span."""

_RENEWED = frozenset({Status.EXTENDED, Status.GROWN})
_RUN_OUT = frozenset({Status.ALREADY_EXPIRED, Status.UNKNOWN})

_log = logging.getLogger("budget_middleware")


class Expiries:
    """Each call raises StoreUnavailable after the store's time-out, or StoreRefused."""

    def __init__(
        self, store: Store, *, calls: VerbCalls, growing: Growing, lease_ms: int, timeout: SharedTimeout
    ) -> None:
        self._store = store
        self._growing = growing
        self._calls = calls
        self._lease_ms = lease_ms
        self._timeout = timeout
        self.reserved_by_kind: Mapping[tuple[Unit, str], int] = {}
        """By unit and kind of accounts, as of the last sweep."""

    async def extend(self, hold: Hold) -> bool:
        """Renew a lease; False: the reservation is not pending any more, or not known.

        Where the answer is taken to have outgrown what is held, more is held by the same call.
        """
        answer = await self._growing.grow_by_age(hold)
        if answer is None:
            answer = await self.renew(hold.id, lease_ms=self._lease_ms)
        if answer.status in _RUN_OUT:
            # Its request goes on, and finalizes late: an expired reservation is never revived.
            ids = log_ids(hold.id, hold.reserve_trace)
            _log.warning("the lease of %s could not be renewed: %s", hold.id, answer.status, extra=ids)
        return answer.status in _RENEWED

    async def extend_to(self, hold: Hold, lease_ms: int) -> bool:
        """Give a reservation one long lease from now on; False if it is not pending any more, or not known."""
        return (await self.renew(hold.id, lease_ms=lease_ms)).status is Status.EXTENDED

    async def renew(self, reservation_id: str, *, lease_ms: int) -> Answer:
        """One heartbeat, for a reservation of any process."""
        return await self._ask(lambda trace: self._store.extend(Extend(reservation_id, lease_ms, trace)))

    async def sweep(self) -> None:
        """Expire the leases that are over, of any worker."""
        status = Status.LEASES_DUE
        while status is Status.LEASES_DUE:
            answer = await self._ask(lambda trace: self._store.sweep(at_most=SWEPT_AT_ONCE, trace=trace))
            status = answer.status
        self.reserved_by_kind = await self._store.reserved_by_kind()

    async def expire(self, reservation_id: str, *, reason: str) -> Answer:
        """Expire a pending reservation now, with no charge."""
        return await self._ask(
            lambda trace: self._store.expire(Expire(reservation_id, trace=trace, reason=reason)),
            reservation_id=reservation_id,
            reason=reason,
        )

    async def _ask(
        self, verb: Callable[[str], Coroutine[Any, Any, Answer]], *, reservation_id: str = "", reason: str = ""
    ) -> Answer:
        """The span of a call that no operator asked for is ended, and so exported, only if it did expire leases."""
        attributes = names.because(reason) if reason else dict
        call = VerbCall(self._calls, Op.EXPIRE, reservation_id=reservation_id, attributes=attributes)
        try:
            with self._timeout.timeout():
                answer = await call.ask(verb(call.span.trace))
        except StoreUnavailable:
            call.defer_span()
            raise
        except TimeoutError as error:
            call.defer_span()
            raise StoreUnavailable(f"no answer within {self._timeout.timeout_s:g} s") from error
        if answer.entries or reservation_id:
            self._calls.telemetry.spans.link_expired(call.span, answer.entries)
            call.finish(answer.status if reservation_id else Status.EXPIRED)
        return answer
