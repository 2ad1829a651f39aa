"""Sends a verb as it is, with a span: for operations that make verbs and repeat them by themselves."""

from collections.abc import Mapping
from dataclasses import replace

from budget_middleware.core.answers import Answer
from budget_middleware.core.statuses import Op
from budget_middleware.core.verbs import Adjust, Finalize, Grow, Release, Reserve
from budget_middleware.ledger.calls.verb_call import VerbCall, VerbCalls
from budget_middleware.ledger.expiries import Expiries
from budget_middleware.stores.base import Store
from budget_middleware.telemetry import has_tracer_provider, names

Sendable = Reserve | Grow | Finalize | Release | Adjust

_OPS: Mapping[type[Sendable], Op] = {
    Reserve: Op.RESERVE,
    Grow: Op.GROW,
    Finalize: Op.FINALIZE,
    Release: Op.RELEASE,
    Adjust: Op.ADJUST,
}


class Sender:
    """One attempt each; its caller repeats it until it is answered. Raises StoreUnavailable or StoreRefused."""

    def __init__(self, store: Store, *, calls: VerbCalls, expiries: Expiries) -> None:
        self._store = store
        self._calls = calls
        self._expiries = expiries

    async def send(self, verb: Sendable) -> Answer:
        """The store's answer to one attempt, whose span links to the one of the reserve."""
        op = _OPS[type(verb)]
        reason = "" if isinstance(verb, Reserve) else verb.reason
        call = VerbCall(
            self._calls,
            op,
            reservation_id=verb.id,
            reserve_trace=await self._reserve_trace(verb),
            attributes=names.because(reason) if reason else dict,
        )
        if call.span.is_recording:
            verb = replace(verb, trace=call.span.trace)
            if not isinstance(verb, Adjust):
                verb = replace(verb, wants_entries=True)
        try:
            answer = await call.ask(getattr(self._store, op.value)(verb))
        except BaseException:
            call.finish(names.UNPROTECTED)
            raise
        call.finish(answer.status)
        return answer

    async def _reserve_trace(self, verb: Sendable) -> str:
        """The span to link to: another process may have sent the reserve."""
        if isinstance(verb, Reserve | Adjust) or not has_tracer_provider():
            return ""
        known = await self._store.reservation(verb.id)
        return known.trace if known else ""

    async def extend(self, reservation_id: str, *, lease_ms: int) -> Answer:
        """Renew the lease of a reservation for which there is no heartbeat."""
        return await self._expiries.renew(reservation_id, lease_ms=lease_ms)
