"""The verbs, as requests and operators ask for them.

A ledger never decides what a counter becomes: that is the store's atomic step. It makes sure that the step is
asked for with fresh windows and limits, as often as it takes, and that nobody's cancellation stops it.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from zoneinfo import ZoneInfo

from budget_middleware import telemetry as names
from budget_middleware.core.limits import Claim, LimitRule
from budget_middleware.core.model import (
    Adjust,
    Answer,
    Expire,
    Extend,
    Finalize,
    Op,
    Release,
    Reserve,
    Status,
    Target,
)
from budget_middleware.core.money import NANOS_PER_USD
from budget_middleware.core.windows import window_at
from budget_middleware.ledger.endings import FIRST_PAUSE_S, Endings, EndingTask
from budget_middleware.ledger.follower import StoreFollower
from budget_middleware.ledger.hold import Hold
from budget_middleware.ledger.leases import LeaseKeeper
from budget_middleware.ledger.limit_layers import LimitLayers, LimitsSource
from budget_middleware.ledger.tasks import OwnedTasks
from budget_middleware.stores.base import Store, StoreRefused, StoreUnavailable
from budget_middleware.telemetry import Attributes, Telemetry, VerbSpan

SWEPT_AT_ONCE = 256

_log = logging.getLogger("budget_middleware")


class Ledger:
    """A ledger over a store; safe to share between requests and event loops.

    ``store_timeout_s`` bounds what a request waits for one verb, retries included. Endings go on being tried
    after that, in tasks of the ledger's own, until the store has answered or the ledger is drained.
    """

    def __init__(
        self,
        store: Store,
        *,
        limits: Iterable[LimitRule] = (),
        limits_source: LimitsSource | None = None,
        timezone: ZoneInfo | None = None,
        enforce: bool = True,
        lease_ms: int = 60_000,
        store_timeout_s: float = 0.5,
        telemetry: Telemetry | None = None,
    ) -> None:
        self.store = store
        self.telemetry = telemetry or Telemetry()
        self._timezone = timezone or ZoneInfo("UTC")
        self._enforce = enforce
        self._lease_ms = lease_ms
        self._store_timeout_s = store_timeout_s
        self._layers = LimitLayers(store, limits, limits_source=limits_source)
        self._tasks = OwnedTasks()
        self._follower = StoreFollower(store, telemetry=self.telemetry, tasks=self._tasks, on_loss=self._replay)
        self._endings = Endings(
            store,
            follower=self._follower,
            telemetry=self.telemetry,
            tasks=self._tasks,
            timeout_s=store_timeout_s,
        )
        self._leases = LeaseKeeper(every_s=lease_ms / 3000, extend=self._extend, sweep=self.sweep)
        self._reserved_by_kind: Mapping[str, int] = {}
        self.telemetry.observe(reserved_by_kind=lambda: self._reserved_by_kind, spooled=lambda: self._endings.waiting)

    async def claims(self, payers: Mapping[str, str | None], *, model: str) -> tuple[Claim, ...]:
        """The counters that a request would claim, by the limits known here."""
        return await self._layers.claims(payers, model=model)

    def store_time_ms(self) -> int:
        """The store's clock, as far as its answers told."""
        return self._follower.time_ms()

    def _replay(self) -> None:
        self._endings.replay()

    # Reserve.

    async def reserve(self, hold: Hold) -> Answer:
        """Reserve; the hold is this caller's until finalize or release, and its lease is kept meanwhile.

        Raises StoreUnavailable or StoreRefused within the store's time-out. Then, and only then, the caller must
        say what becomes of the hold: ``abandon`` it, or serve the request and end it as if it were reserved.
        """
        started = time.monotonic()
        span = self.telemetry.start(
            Op.RESERVE,
            reservation_id=hold.id,
            since_seq=self._follower.seen.seq,
            context=hold.context,
            attributes={names.ESTIMATE_USD: hold.amount_nanos / NANOS_PER_USD, **hold.attributes},
        )
        hold.reserve_trace = span.trace
        status, told = "cancelled", dict[str, str | int | float | bool]()
        try:
            answer = await self._decide(hold, span)
            status = answer.status
            told.update(names.rejection_attributes(answer.rejection) if answer.rejection else {})
        except (StoreUnavailable, StoreRefused) as error:
            status = names.UNPROTECTED
            told[names.REASON] = str(error)
            if hold.is_uncertain:
                self._leases.keep(hold)
            raise
        except asyncio.CancelledError:
            hold.is_uncertain = True
            self.abandon(hold, reason="cancelled while reserving")
            raise
        finally:
            self._follower.finish(span, status, told, is_uncertain=hold.is_uncertain)
            self.telemetry.count_reserve(seconds=time.monotonic() - started, status=status)
        if answer.admits:
            self._leases.keep(hold)
        elif hold.is_uncertain:
            # An earlier attempt that got no answer may still arrive; a tombstone makes it hold nothing.
            self.abandon(hold, reason="refused after a lost answer")
        return answer

    async def _decide(self, hold: Hold, span: VerbSpan) -> Answer:
        until = asyncio.get_running_loop().time() + self._store_timeout_s
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                async with asyncio.timeout_at(until):
                    answer = await self._reserve_once(hold, span)
                    if not answer.status.is_transient:
                        return answer
                    if answer.status is Status.STALE_LIMITS:
                        await self._layers.refresh(answer)
            except StoreUnavailable as error:
                hold.is_uncertain = True
                if asyncio.get_running_loop().time() + pause_s >= until:
                    raise
                _log.debug("reserve %s got no answer and is repeated: %s", hold.id, error)
                await asyncio.sleep(pause_s)
                pause_s *= 2
            except TimeoutError as error:
                hold.is_uncertain = True
                raise StoreUnavailable(f"no answer within {self._store_timeout_s:g} s") from error

    async def _reserve_once(self, hold: Hold, span: VerbSpan) -> Answer:
        version = self._layers.version
        try:
            claims = await self._layers.claims(hold.payers, model=hold.model)
        except StoreUnavailable:
            # Whoever serves the request all the same must know where its cost is to be booked.
            hold.targets = self._targets(self._layers.known_claims(hold.payers, model=hold.model))
            raise
        hold.targets = self._targets(claims)
        verb = Reserve(
            hold.id,
            hold.targets,
            hold.amount_nanos,
            self._lease_ms,
            expiry_charge_nanos=hold.expiry_charge_nanos,
            enforce=self._enforce,
            limits_version=version,
            trace=span.trace,
        )
        before = self._follower.seen
        answer = await self.store.reserve(verb)
        self._follower.note(answer, span, before=before)
        return answer

    def _targets(self, claims: Iterable[Claim]) -> tuple[Target, ...]:
        now_ms = self.store_time_ms()
        return tuple(
            Target(
                claim.account,
                window_at(claim.period, time_ms=now_ms, timezone=self._timezone),
                claim.limit_nanos,
            )
            for claim in claims
        )

    # Endings. Each runs in a task of the ledger's own; who wants to wait for it waits in `settled`.

    def finalize(
        self, hold: Hold, *, actual_nanos: int, reason: str = "", attributes: Attributes | None = None
    ) -> EndingTask:
        """Book the actual cost, whatever became of the reservation."""
        self._leases.drop(hold)
        ending = Finalize(hold.id, hold.targets, actual_nanos, reason=reason)
        told: Attributes = {names.AMOUNT_USD: actual_nanos / NANOS_PER_USD, names.REASON: reason}
        return self._endings.begin(hold, ending, {**hold.attributes, **told, **(attributes or {})})

    def release(self, hold: Hold, *, reason: str = "") -> EndingTask:
        """Give the hold back and book nothing."""
        self._leases.drop(hold)
        ending = Release(hold.id, reason=reason)
        return self._endings.begin(hold, ending, {**hold.attributes, names.REASON: reason})

    def abandon(self, hold: Hold, *, reason: str) -> None:
        """Make sure that a reserve of unknown fate holds nothing, now or when it arrives late."""
        self.release(hold, reason=reason)

    async def settled(self, ending: EndingTask) -> Answer | None:
        """The answer of an ending, or None if it takes longer than the store's time-out; it goes on then."""
        return await self._endings.settled(ending)

    # What operators ask for. These raise StoreUnavailable and StoreRefused: an operator is there to try again.

    async def adjust(
        self,
        claims: Iterable[Claim],
        *,
        amount_nanos: int,
        reason: str,
        targets: tuple[Target, ...] | None = None,
    ) -> Answer:
        """Add to (negative: credit) *spent* of the claims' current windows, or of the targets that are named."""
        claims = tuple(claims)
        id_ = secrets.token_hex(16)
        span = self.telemetry.start(
            Op.ADJUST,
            reservation_id=id_,
            since_seq=self._follower.seen.seq,
            attributes={names.AMOUNT_USD: amount_nanos / NANOS_PER_USD, names.REASON: reason},
        )
        while True:
            verb = Adjust(
                id_,
                targets or self._targets(claims),
                amount_nanos,
                any_window=targets is not None,
                trace=span.trace,
                reason=reason,
            )
            before = self._follower.seen
            answer = await self.store.adjust(verb)
            self._follower.note(answer, span, before=before)
            if not answer.status.is_transient:
                self.telemetry.end(span, answer.status)
                return answer

    async def expire(self, reservation_id: str, *, reason: str) -> Answer:
        """An operator's release: the hold is given back now, its owner's finalize is still booked late."""
        return await self._expiring(
            lambda trace: self.store.expire(Expire(reservation_id, trace=trace, reason=reason)), reason=reason
        )

    # Leases.

    async def _extend(self, hold: Hold) -> None:
        answer = await self._expiring(lambda trace: self.store.extend(Extend(hold.id, self._lease_ms, trace)))
        if answer.status is not Status.EXTENDED:
            # It goes on, and finalizes late: an expired reservation is never revived.
            _log.warning("the lease of %s could not be renewed: %s", hold.id, answer.status)
            self._leases.drop(hold)

    async def sweep(self) -> None:
        """Expire the leases that are over, whoever's they are."""
        status = Status.LEASES_DUE
        while status is Status.LEASES_DUE:
            answer = await self._expiring(lambda trace: self.store.sweep(at_most=SWEPT_AT_ONCE, trace=trace))
            status = answer.status
        self._reserved_by_kind = await self.store.reserved_by_kind()

    async def _expiring(self, call: Callable[[str], Awaitable[Answer]], *, reason: str = "") -> Answer:
        """A call that may expire leases, in passing too. Its span is ended, and so exported, only if it did."""
        span = self.telemetry.start(
            Op.EXPIRE,
            since_seq=self._follower.seen.seq,
            attributes={names.REASON: reason} if reason else None,
        )
        before = self._follower.seen
        try:
            async with asyncio.timeout(self._store_timeout_s):
                answer = await call(span.trace)
        except (StoreUnavailable, TimeoutError) as error:
            self._follower.leave_untold(span)
            raise StoreUnavailable(str(error) or "time-out") from error
        if answer.entries:
            self.telemetry.link_expired(span, answer.entries)
            self.telemetry.end(span, Status.EXPIRED)
        self._follower.note(answer, span, before=before)
        return answer

    async def drain(self, *, timeout_s: float = 10.0) -> None:
        """Book what is still owed, then let go of tasks and connections of this event loop."""
        self._leases.stop()
        left = await self._tasks.drain(timeout_s=timeout_s)
        if left:
            _log.error("%d tasks of the ledger were cut off after %g s", left, timeout_s)
        await self.store.aclose()
