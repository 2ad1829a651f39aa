"""The verbs, as requests and operators ask for them.

A ledger never decides what a counter becomes: that is the store's atomic step. It makes sure that the step is asked
for with fresh windows and limits, as often as it takes, and that nobody's cancellation stops it.
"""

import asyncio
import logging
import secrets
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple
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
from budget_middleware.ledger.hold import Hold
from budget_middleware.ledger.leases import LeaseKeeper
from budget_middleware.ledger.limit_layers import LimitLayers, LimitsSource
from budget_middleware.ledger.tasks import OwnedTasks
from budget_middleware.stores.base import Store, StoreRefused, StoreUnavailable
from budget_middleware.telemetry import Attributes, Telemetry, VerbSpan

SWEPT_AT_ONCE = 256
JOURNAL_PAGE = 1_000

REPLAYED_S = 300
"""Endings of the last so many seconds are sent again when the store has lost its memory (or a part of it)."""
REPLAYED_MAX = 20_000

_FIRST_PAUSE_S = 0.02
_LONGEST_PAUSE_S = 5.0

_log = logging.getLogger("budget_middleware")

Ending = Finalize | Release


class _Seen(NamedTuple):
    """How far the store was when it last answered."""

    generation: str
    seq: int


class Ledger:
    """A ledger over a store; safe to share between requests and event loops.

    ``store_timeout_s`` bounds what a request waits for one verb, retries included. Endings go on being tried after
    that, in tasks of the ledger's own, until the store has answered or the ledger is drained.
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
        self._layers = LimitLayers(store, limits, limits_source=limits_source)
        self._timezone = timezone or ZoneInfo("UTC")
        self._enforce = enforce
        self._lease_ms = lease_ms
        self._store_timeout_s = store_timeout_s
        self._tasks = OwnedTasks()
        self._leases = LeaseKeeper(every_s=lease_ms / 3000, extend=self._extend, sweep=self.sweep)
        # What the store's answers told: how far its clock is from ours, and whether it still is the same store.
        self._clock_offset_ms = 0
        self._seen = _Seen("", 0)
        self._endings: deque[tuple[float, Hold, Ending]] = deque(maxlen=REPLAYED_MAX)
        self._untold: list[VerbSpan] = []
        self.spooled = 0
        self.reserved_by_kind: Mapping[str, int] = {}
        self.telemetry.observe(reserved_by_kind=lambda: self.reserved_by_kind, spooled=lambda: self.spooled)

    async def claims(self, payers: Mapping[str, str | None], *, model: str) -> tuple[Claim, ...]:
        """The counters that a request would claim, by the limits known here."""
        return await self._layers.claims(payers, model=model)

    def store_time_ms(self) -> int:
        """The store's clock, as far as its answers told."""
        return time.time_ns() // 1_000_000 + self._clock_offset_ms

    # Reserve.

    async def reserve(self, hold: Hold) -> Answer:
        """Reserve; the hold is this caller's until finalize or release, and its lease is kept meanwhile.

        Raises StoreUnavailable or StoreRefused within the store's time-out. Then, and only then, the caller must
        say what becomes of the hold: ``abandon`` it, or serve the request and end it as if it had been reserved.
        """
        started = time.monotonic()
        span = self.telemetry.start(
            Op.RESERVE,
            reservation_id=hold.id,
            since_seq=self._seen.seq,
            context=hold.context,
            attributes={names.ESTIMATE_USD: hold.amount_nanos / NANOS_PER_USD, **hold.attributes},
        )
        hold.reserve_trace = span.trace
        status = "cancelled"
        attributes: Attributes = {}
        try:
            answer = await self._decide(hold, span)
            status = answer.status
            if answer.rejection is not None:
                attributes = names.rejection_attributes(answer.rejection)
        except (StoreUnavailable, StoreRefused) as error:
            status, attributes = names.UNPROTECTED, {names.REASON: str(error)}
            if hold.is_uncertain:
                self._leases.keep(hold)
            raise
        except asyncio.CancelledError:
            hold.is_uncertain = True
            self.abandon(hold, reason="cancelled while reserving")
            raise
        finally:
            self._finish(span, status, attributes, is_uncertain=hold.is_uncertain)
            self.telemetry.count_reserve(seconds=time.monotonic() - started, status=status)
        if answer.admits:
            self._leases.keep(hold)
        elif hold.is_uncertain:
            # An earlier attempt that got no answer may still arrive; a tombstone makes it hold nothing.
            self.abandon(hold, reason="refused after a lost answer")
        return answer

    async def _decide(self, hold: Hold, span: VerbSpan) -> Answer:
        until = asyncio.get_running_loop().time() + self._store_timeout_s
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                async with asyncio.timeout_at(until):
                    verb = await self._reserve_verb(hold, span)
                    seen = self._seen
                    answer = await self.store.reserve(verb)
                    self._note(answer, span, seen)
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

    async def _reserve_verb(self, hold: Hold, span: VerbSpan) -> Reserve:
        version = self._layers.version
        try:
            claims = await self._layers.claims(hold.payers, model=hold.model)
        except StoreUnavailable:
            # Whoever serves the request all the same must know where its cost is to be booked.
            hold.targets = self._targets(self._layers.known_claims(hold.payers, model=hold.model))
            raise
        hold.targets = self._targets(claims)
        return Reserve(
            hold.id,
            hold.targets,
            hold.amount_nanos,
            self._lease_ms,
            expiry_charge_nanos=hold.expiry_charge_nanos,
            enforce=self._enforce,
            limits_version=version,
            trace=span.trace,
        )

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

    # Endings. Each runs in a task of the ledger's own; a caller that waits for it waits in `settled`.

    def finalize(
        self, hold: Hold, *, actual_nanos: int, reason: str = "", attributes: Attributes | None = None
    ) -> "asyncio.Task[Answer | None]":
        """Book the actual cost, whatever became of the reservation. None: not booked before the ledger was drained."""
        ending = Finalize(hold.id, hold.targets, actual_nanos, reason=reason)
        told: Attributes = {names.AMOUNT_USD: actual_nanos / NANOS_PER_USD, names.REASON: reason}
        return self._begin_ending(hold, ending, {**hold.attributes, **told, **(attributes or {})})

    def release(self, hold: Hold, *, reason: str = "") -> "asyncio.Task[Answer | None]":
        """Give the hold back and book nothing."""
        return self._begin_ending(hold, Release(hold.id, reason=reason), {**hold.attributes, names.REASON: reason})

    def abandon(self, hold: Hold, *, reason: str) -> None:
        """Make sure that a reserve of unknown fate holds nothing, now or when it arrives late."""
        self.release(hold, reason=reason)

    async def settled(self, ending: "asyncio.Task[Answer | None]") -> Answer | None:
        """The answer of an ending, or None if it takes longer than the store's time-out; it goes on then."""
        done, _ = await asyncio.wait({ending}, timeout=self._store_timeout_s)
        if not done or ending.cancelled() or ending.exception():
            return None
        return ending.result()

    def _begin_ending(self, hold: Hold, ending: Ending, attributes: Attributes) -> "asyncio.Task[Answer | None]":
        self._leases.drop(hold)
        return self._tasks.own(self._end(hold, ending, attributes))

    async def _end(self, hold: Hold, ending: Ending, attributes: Attributes) -> Answer | None:
        op = Op.FINALIZE if isinstance(ending, Finalize) else Op.RELEASE
        span = self.telemetry.start(
            op,
            reservation_id=hold.id,
            since_seq=self._seen.seq,
            context=hold.context,
            reserve_trace=hold.reserve_trace,
            attributes=attributes,
        )

        async def attempt(age_ms: int) -> Answer:
            if isinstance(ending, Finalize):
                return await self.store.finalize(replace(ending, age_ms=age_ms, trace=span.trace))
            return await self.store.release(replace(ending, age_ms=age_ms, trace=span.trace))

        answer = await self._until_answered(attempt, span)
        if answer is None:
            _log.error("not booked, the store gave no answer before the end: %s", ending)
        elif answer.status is Status.TOO_OLD:
            _log.error("not booked, it came too late to be sure that it was not booked before: %s", ending)
        else:
            self._endings.append((time.monotonic(), hold, ending))
        return answer

    async def _until_answered(self, attempt: Callable[[int], Awaitable[Answer]], span: VerbSpan) -> Answer | None:
        """Try until the store answers, or until this task is cancelled twice; None: it never did."""
        started = time.monotonic()
        pause_s = _FIRST_PAUSE_S
        is_uncertain = is_last = False
        while True:
            seen = self._seen
            try:
                async with asyncio.timeout(self._store_timeout_s):
                    answer = await attempt(round((time.monotonic() - started) * 1000))
            except (StoreUnavailable, StoreRefused, TimeoutError, asyncio.CancelledError) as error:
                is_uncertain = is_uncertain or not isinstance(error, StoreRefused)
                if is_last:
                    self._finish(span, names.UNPROTECTED, {names.REASON: str(error)}, is_uncertain=is_uncertain)
                    return None
                # Only a loop that closes cancels this task; what is owed to a counter gets one more try before.
                is_last = isinstance(error, asyncio.CancelledError)
                _log.warning("an ending got no answer and is tried again: %r", error)
            else:
                self._finish(span, answer.status, {}, is_uncertain=is_uncertain)
                self._note(answer, span, seen)
                return answer
            is_last = is_last or await self._is_cancelled_in(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def _is_cancelled_in(self, pause_s: float) -> bool:
        self.spooled += 1
        try:
            await asyncio.sleep(pause_s)
        except asyncio.CancelledError:
            return True
        finally:
            self.spooled -= 1
        return False

    # What operators ask for.

    async def adjust(
        self,
        claims: Sequence[Claim],
        *,
        amount_nanos: int,
        reason: str,
        targets: tuple[Target, ...] | None = None,
    ) -> Answer:
        """Add to (negative: credit) *spent* of the claims' current windows, or of the targets that are named."""
        id_ = secrets.token_hex(16)
        span = self.telemetry.start(
            Op.ADJUST,
            reservation_id=id_,
            since_seq=self._seen.seq,
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
            seen = self._seen
            answer = await self.store.adjust(verb)
            self._note(answer, span, seen)
            if not answer.status.is_transient:
                self.telemetry.end(span, answer.status)
                return answer

    async def expire(self, reservation_id: str, *, reason: str) -> Answer:
        """An operator's release: the hold is given back now, its owner's finalize is still booked late."""
        span = self.telemetry.start(
            Op.EXPIRE,
            reservation_id=reservation_id,
            since_seq=self._seen.seq,
            attributes={names.REASON: reason},
        )
        seen = self._seen
        answer = await self.store.expire(Expire(reservation_id, trace=span.trace, reason=reason))
        self.telemetry.link_expired(span, answer.entries)
        self._note(answer, span, seen)
        self.telemetry.end(span, answer.status)
        return answer

    # The life of the ledger itself.

    async def drain(self, *, timeout_s: float = 10.0) -> None:
        """Book what is still owed, then let go of tasks and connections of this event loop."""
        self._leases.stop()
        left = await self._tasks.drain(timeout_s=timeout_s)
        if left:
            _log.error("%d tasks of the ledger were cut off after %g s", left, timeout_s)
        await self.store.aclose()

    def _note(self, answer: Answer, span: VerbSpan, seen: _Seen) -> None:
        """Learn from an answer; ``seen`` is how far the store was known to be before the call."""
        self.telemetry.tell(span, answer.entries)
        self._clock_offset_ms = answer.now_ms - time.time_ns() // 1_000_000
        if answer.generation != self._seen.generation:
            has_lost, seq = bool(self._seen.generation), answer.seq
        else:
            # Answers overtake each other: only a seq below what was known before the call tells of lost writes.
            has_lost = answer.generation == seen.generation and answer.seq < seen.seq
            seq = answer.seq if has_lost else max(answer.seq, self._seen.seq)
        self._seen = _Seen(answer.generation, seq)
        if has_lost:
            _log.warning("the store lost writes (now generation %s, seq %d)", answer.generation, answer.seq)
            self._replay()
        if self._untold:
            untold, self._untold = self._untold, []
            self._tasks.own(self._tell_from_journal(untold))

    def _finish(self, span: VerbSpan, status: str, attributes: Attributes, *, is_uncertain: bool) -> None:
        self.telemetry.end(span, status, attributes=attributes)
        if is_uncertain and span.is_recording:
            self._untold.append(span)

    async def _tell_from_journal(self, spans: Sequence[VerbSpan]) -> None:
        """Tell the entries of calls whose answer was lost, from the journal that has them all."""
        by_trace = {span.trace: span for span in spans}
        after_seq = min(self._seen.seq, *(span.since_seq for span in spans))
        try:
            while page := await self.store.journal(after_seq=after_seq, count=JOURNAL_PAGE):
                after_seq = page[-1].seq
                for trace in {entry.trace for entry in page} & by_trace.keys():
                    self.telemetry.tell(by_trace[trace], [entry for entry in page if entry.trace == trace])
        except (StoreUnavailable, StoreRefused):
            self._untold += spans

    def _replay(self) -> None:
        """Send the endings of the last minutes again: what the store still knows, it will not book twice."""
        since = time.monotonic() - REPLAYED_S
        recent = [(hold, ending) for at, hold, ending in self._endings if at >= since]
        self._endings.clear()
        for hold, ending in recent:
            self._tasks.own(self._end(hold, ending, {names.REASON: "replayed"}))

    # Heartbeats and sweeping.

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
        self.reserved_by_kind = await self.store.reserved_by_kind()

    async def _expiring(self, call: Callable[[str], Awaitable[Answer]]) -> Answer:
        """A call that may expire leases in passing. A span that is not ended is not exported: mostly, nothing is."""
        span = self.telemetry.start(Op.EXPIRE, since_seq=self._seen.seq)
        seen = self._seen
        try:
            async with asyncio.timeout(self._store_timeout_s):
                answer = await call(span.trace)
        except (StoreUnavailable, TimeoutError) as error:
            self._untold += [span] if span.is_recording else []
            raise StoreUnavailable(str(error) or "time-out") from error
        if answer.entries:
            self.telemetry.link_expired(span, answer.entries)
            self.telemetry.end(span, Status.EXPIRED)
        self._note(answer, span, seen)
        return answer
