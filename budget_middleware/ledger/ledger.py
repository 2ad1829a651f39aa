"""The verbs, as requests and operators ask for them.

A ledger never decides what a counter becomes: that is the store's atomic step. It makes sure that the step is
asked for with fresh windows and limits, as often as it takes, and that nobody's cancellation stops it.
"""

import asyncio
import logging
import math
import secrets
import time
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from budget_middleware.core.bill import Amount, AmountKind
from budget_middleware.core.bill_packing import pack
from budget_middleware.core.limits import Claim, LimitRule
from budget_middleware.core.model import (
    Adjust,
    Answer,
    Finalize,
    Op,
    Rejection,
    Release,
    Reservation,
    Reserve,
    Status,
    Target,
)
from budget_middleware.core.money import NANOS_PER_USD
from budget_middleware.core.units import Amounts
from budget_middleware.ledger.attempts import until_decided
from budget_middleware.ledger.endings import Endings, Settled
from budget_middleware.ledger.expiries import Expiries
from budget_middleware.ledger.follower import JOURNAL_PAGE, StoreFollower
from budget_middleware.ledger.handle import BudgetHandle
from budget_middleware.ledger.hold import Hold
from budget_middleware.ledger.leases import LeaseKeeper
from budget_middleware.ledger.limit_layers import LimitLayers, LimitsSource
from budget_middleware.ledger.local_ledger import LocalLedger
from budget_middleware.ledger.noticeboard import Noticeboard
from budget_middleware.ledger.refusal_log import RefusalLog
from budget_middleware.ledger.reservation import BudgetRejected, hold_for
from budget_middleware.ledger.settings_watch import SettingsWatch
from budget_middleware.ledger.spool import Spool
from budget_middleware.ledger.spool_file import SpoolFile
from budget_middleware.ledger.targets import TargetChooser
from budget_middleware.ledger.tasks import OwnedTasks, run_beside
from budget_middleware.prices import PriceBook, UnknownModel
from budget_middleware.shared_timeout import SharedTimeout
from budget_middleware.stores.base import Store, StoreAway, StoreRefused, StoreUnavailable, Topic, WrongServer
from budget_middleware.telemetry import Gauges, Telemetry, Told, VerbSpan, names

_log = logging.getLogger("budget_middleware")


FOLLOWED_ENTRIES = 500
"""The last changes of any worker whose figures each heartbeat reads."""

FLUSH_S = 2.0
"""How long a shutdown waits for spans to be exported."""


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
        prices: PriceBook | None = None,
        timezone: ZoneInfo | None = None,
        enforce: bool = True,
        lease_ms: int = 60_000,
        store_timeout_s: float = 0.5,
        max_hold_s: float = math.inf,
        idle_hold_s: float = math.inf,
        spool_max: int = 10_000,
        spool_path: Path | None = None,
        fingerprint: str = "",
        telemetry: Telemetry | None = None,
    ) -> None:
        self.store = store
        self.telemetry = telemetry or Telemetry()
        self.prices = prices or PriceBook({}, unknown=UnknownModel(None))
        self._chooser = TargetChooser(timezone or ZoneInfo("UTC"))
        self._enforce = enforce
        self._lease_ms = lease_ms
        self._store_timeout_s = store_timeout_s
        self._timeout = SharedTimeout(store_timeout_s)
        self._tasks = OwnedTasks()
        self._local = LocalLedger(lease_ms=lease_ms)
        self._follower = StoreFollower(store, telemetry=self.telemetry, tasks=self._tasks, on_loss=self._on_loss)
        self._layers = LimitLayers(
            store,
            limits,
            tasks=self._tasks,
            on_outage=lambda began_s: self._follower.breaker.note_outage(began_s=began_s),
            limits_source=limits_source,
        )
        self._endings = Endings(
            store,
            follower=self._follower,
            telemetry=self.telemetry,
            tasks=self._tasks,
            timeout=self._timeout,
            local=self._local,
            spool=Spool(at_most=spool_max, file=SpoolFile(spool_path) if spool_path else None),
        )
        self._expiries = Expiries(
            store,
            follower=self._follower,
            telemetry=self.telemetry,
            lease_ms=lease_ms,
            timeout=self._timeout,
        )
        self._leases = LeaseKeeper(
            every_s=lease_ms / 3000,
            extend=self._expiries.extend,
            sweep=self._tend,
            max_hold_s=max_hold_s,
            idle_hold_s=idle_hold_s,
        )
        self._noticeboard = Noticeboard(store, tasks=self._tasks, timeout=self._timeout)
        self._settings_watch = SettingsWatch(store, fingerprint, tasks=self._tasks, timeout=self._timeout)
        self._refusals = RefusalLog(store, tasks=self._tasks, telemetry=self.telemetry, timeout=self._timeout)
        self.telemetry.metrics.observe(
            Gauges(
                reserved_by_kind=lambda: self._expiries.reserved_by_kind,
                oldest_s=self._leases.oldest_s,
                spooled=lambda: self._endings.waiting,
            )
        )

    async def claims(self, payers: Mapping[str, str | None], *, model: str) -> tuple[Claim, ...]:
        """The counters that a request would claim, by the limits known here."""
        return await self._layers.claims(payers, model=model)

    def store_time_ms(self) -> int:
        """The store's clock, as far as its answers told."""
        return self._follower.time_ms()

    @property
    def generation(self) -> str:
        """Which store this is, as its last answer told; another one after it was emptied. Empty before the first."""
        return self._follower.seen.generation

    async def look_up(self, reservation_id: str) -> Reservation | None:
        """What the store knows of a reservation; None if that is nothing, or if it does not answer in time."""
        try:
            async with asyncio.timeout(self._store_timeout_s):
                return await self.store.reservation(reservation_id)
        except (StoreUnavailable, StoreRefused, TimeoutError):
            return None

    def note(self, topic: Topic, text: str) -> bool:
        """Tell operators what only this process sees; whether it had not been told before."""
        return self._noticeboard.note(topic, text)

    def _on_loss(self) -> None:
        """The store has lost writes: endings, and limits perhaps."""
        self._layers.suspect()
        self._tasks.own(self._check_limits())
        self._endings.replay()

    async def _check_limits(self) -> None:
        # The next reserve tries again.
        with suppress(StoreUnavailable, StoreRefused):
            await self._layers.check()

    def run_in_background(self, work: Coroutine[Any, Any, None]) -> None:
        """Do it in a task that no request's cancellation reaches, and that a shutdown waits for."""
        self._tasks.own(work)

    def start(self) -> None:
        """Begin to tend leases and spool now; else that begins with the first hold of an event loop."""
        self._endings.adopt()
        self._leases.start()
        self._settings_watch.look()

    async def check_store(self) -> None:
        """Try whether the store can do all that is needed. Raises StoreUnavailable, or WrongServer with the fix."""
        try:
            with self._timeout.timeout():
                await self.store.check()
        except TimeoutError as error:
            raise StoreUnavailable(f"no answer within {self._timeout.timeout_s:g} s") from error

    async def _tend(self) -> None:
        self._endings.adopt()
        self._settings_watch.look()
        self._follower.look_again()
        await self._expiries.sweep()
        await self._follower.look_for_loss()
        # By these figures this worker goes on where the store is away, also for what it did not serve itself.
        self._local.record_entries(await self.store.latest(count=FOLLOWED_ENTRIES))

    # Reserve.

    async def reserve(self, hold: Hold) -> Answer:
        """Reserve; the hold is this caller's until finalize or release, and its lease is kept meanwhile.

        Raises StoreUnavailable or StoreRefused when the store was silent for its time-out, or cannot do it, and
        StoreUndecided where it is there all the same. Then, and only then, the caller must say what becomes of the
        hold: ``abandon`` it, or serve the request and end it as if it were reserved.
        """
        self._leases.add(hold)
        started = time.monotonic()
        span = self.telemetry.spans.start(
            Op.RESERVE,
            reservation_id=hold.id,
            since_seq=self._follower.seen.seq,
            context=hold.context,
            told=hold.told_of_reserve,
        )
        hold.reserve_trace = span.trace
        told: Told = dict
        status = "cancelled"
        try:
            answer = await until_decided(partial(self._reserve_once, hold, span), time_limit=self._timeout)
            status = answer.status
            if answer.rejection is not None:
                told = partial(names.rejection_attributes, answer.rejection)
        except (StoreUnavailable, StoreRefused) as error:
            status = names.UNPROTECTED
            told = names.because(str(error))
            if hold.is_uncertain:
                self._leases.keep(hold)
            # Where only a limits source failed, the store was never asked.
            if isinstance(error, WrongServer) or (hold.is_uncertain and isinstance(error, StoreUnavailable)):
                self._follower.breaker.note_outage(began_s=started)
            raise
        except asyncio.CancelledError:
            self.abandon(hold, reason="cancelled while reserving")
            raise
        except BaseException:
            self._leases.drop(hold)
            raise
        finally:
            self._follower.finish(span, status, told, is_uncertain=hold.is_uncertain)
            seconds = time.monotonic() - started
            self.telemetry.metrics.count_reserve(seconds=seconds, status=status, context=span.context)
        if answer.rejection is not None:
            self._refusals.note(hold, answer, answer.rejection)
            self._local.record((answer.rejection.target,), (answer.rejection.balance,))
        self._keep_or_abandon(hold, answer)
        return answer

    def reserve_locally(self, hold: Hold) -> Rejection | None:
        """After a reserve that got no answer: hold by this worker's own figures, or tell the counter that refuses.

        A hold that is not refused is to be ended as any other; it is booked once the store answers.
        """
        return self._local.reserve(hold)

    def _keep_or_abandon(self, hold: Hold, answer: Answer) -> None:
        if answer.admits:
            # A repeat is admitted on the counters of the attempt whose answer was lost.
            hold.targets = answer.recorded.targets if answer.recorded else hold.targets
            self._local.record(hold.targets, answer.balances)
            self._leases.keep(hold)
            self._follower.tell_untold()
        elif hold.is_uncertain:
            # An earlier attempt that got no answer may still arrive; a tombstone makes it hold nothing.
            self.abandon(hold, reason="refused after a lost answer")
        else:
            self._leases.drop(hold)

    async def _reserve_once(self, hold: Hold, span: VerbSpan) -> Answer:
        is_allowed = self._follower.breaker.allows()
        may_be_known = not (self._layers.has_source or hold.other_models)
        claims = self._layers.known_claims(hold.payers, model=hold.model) if may_be_known else None
        if claims is None:
            claims = await self._claims(hold, may_ask=is_allowed)
        # In the same step as the claims: what is looked up may be of a newer version.
        version = self._layers.version
        hold.targets = self._targets(claims)
        verb = self._reserve_verb(hold, span, limits_version=version)
        if not is_allowed:
            raise StoreAway("the store is away, and was not asked")
        call = self._follower.call(Op.RESERVE)
        try:
            answer = await self.store.reserve(verb)
        except (StoreUnavailable, asyncio.CancelledError):
            hold.is_uncertain = True
            raise
        self._follower.note(answer, span, call)
        if answer.status is Status.STALE_LIMITS:
            await self._layers.refresh(version)
        return answer

    async def _claims(self, hold: Hold, *, may_ask: bool) -> tuple[Claim, ...]:
        try:
            return await self._layers.claims(
                hold.payers, model=hold.model, other_models=hold.other_models, may_ask=may_ask
            )
        except (StoreUnavailable, StoreRefused, asyncio.CancelledError):
            # Whoever serves the request all the same must know where its cost is to be booked.
            claims = self._layers.claims_without_store(hold.payers, model=hold.model, other_models=hold.other_models)
            hold.targets = hold.targets or self._targets(claims)
            raise

    def _reserve_verb(self, hold: Hold, span: VerbSpan, *, limits_version: int) -> Reserve:
        return Reserve(
            hold.id,
            hold.targets,
            hold.asked,
            self._lease_ms,
            expiry_charge=hold.expiry_charge,
            enforce=self._enforce,
            limits_version=limits_version,
            trace=span.trace,
            wants_entries=span.is_recording,
        )

    def _targets(self, claims: Iterable[Claim]) -> tuple[Target, ...]:
        return self._chooser.targets(claims, now_ms=self._follower.time_ms())

    # Endings. Each runs in a task of the ledger's own; whoever wants to wait for it awaits what these return.

    def finalize(self, hold: Hold, *, actual: Amounts, reason: str = "", told: Told = dict, bill: str = "") -> Settled:
        """Book the actual cost, whatever became of the reservation. The packed bill goes into the journal with it."""
        self._leases.drop(hold)
        # Entries are wanted by whoever records a span, which is not known yet.
        ending = Finalize(hold.id, hold.targets, actual, reason=reason, wants_entries=False, bill=bill)
        return self._endings.begin(hold, ending, partial(_told_of_finalize, hold, ending, told))

    def release(self, hold: Hold, *, reason: str = "") -> Settled:
        """Give the hold back and book nothing."""
        self._leases.drop(hold)
        ending = Release(hold.id, reason=reason, wants_entries=False)
        return self._endings.begin(hold, ending, partial(_told_of_release, hold, ending))

    def abandon(self, hold: Hold, *, reason: str) -> None:
        """Make sure that a reserve of unknown fate holds nothing, now or when it arrives late."""
        self.release(hold, reason=reason)

    def forget(self, hold: Hold) -> None:
        """End a hold that the store was never asked for: nobody need hear of it."""
        self._leases.drop(hold)

    @asynccontextmanager
    async def reservation(
        self, accounts: Mapping[str, str], *, estimate_usd: str | int | Decimal, model: str = ""
    ) -> AsyncIterator[BudgetHandle]:
        """Reserve, run the block, and book what it added; for code outside HTTP.

        ``accounts`` are subjects by kind, ``{"team": "search"}``; that of a key is its 16 hex digits. A block that
        fails or is cancelled books what it had added until then; if that is nothing, the hold is given back. So ends a
        block that outlives a shutdown or BUDGET_MAX_HOLD_S; it can add nothing any more then.

        Raises BudgetRejected, or StoreUnavailable or StoreRefused where the store is away, before the block is run;
        ValueError for accounts and estimates that cannot be.
        """
        hold = hold_for(accounts, estimate_usd=estimate_usd, model=model)
        try:
            answer = await self.reserve(hold)
        except (StoreUnavailable, StoreRefused):
            self.abandon(hold, reason="store away")
            raise
        if not answer.admits:
            raise BudgetRejected(answer)
        handle = BudgetHandle(hold.id, self.prices)
        hold.abort = lambda _: self._end_block(hold, handle, failed=True)
        failed = True
        try:
            yield handle
            failed = False
        finally:
            # Unless it was ended by its abort rule before.
            if hold.abort is not None:
                # A second cancellation ends the wait, not the ending.
                await self._end_block(hold, handle, failed=failed)

    def _end_block(self, hold: Hold, handle: BudgetHandle, *, failed: bool) -> Settled:
        hold.abort = None
        added_nanos = handle.end()
        if failed and not added_nanos:
            return self.release(hold, reason="failed")
        self._count_cost(hold, added_nanos)
        bill = pack(nanos=added_nanos, amounts=[Amount(AmountKind.APP_TOLD, added_nanos)]) if added_nanos else ""
        return self.finalize(hold, actual=Amounts(usd=added_nanos), reason="added", bill=bill)

    def _count_cost(self, hold: Hold, actual_nanos: int) -> None:
        rates = self.prices.resolve(hold.model)
        # Names of the price book only, for their number is bounded.
        model = (rates.model if rates else "") or "other"
        self.telemetry.metrics.count_cost(actual_nanos=actual_nanos, estimate_nanos=hold.asked.usd, model=model)

    # What operators ask for. These raise StoreUnavailable and StoreRefused: an operator is there to try again.

    async def adjust(
        self,
        claims: Iterable[Claim],
        *,
        amount: Amounts,
        reason: str,
        targets: tuple[Target, ...] | None = None,
        id_: str = "",
        bill: str = "",
    ) -> Answer:
        """Add to (negative: credit) *spent* of the claims' current windows, or of the targets that are named.

        With an ``id_`` of one's own it is done once, however often it is asked for.
        """
        claims = tuple(claims)
        id_ = id_ or secrets.token_hex(16)
        span = self.telemetry.spans.start(
            Op.ADJUST,
            reservation_id=id_,
            since_seq=self._follower.seen.seq,
            told=lambda: {names.AMOUNT_USD: amount.usd / NANOS_PER_USD, names.REASON: reason},
        )

        async def attempt() -> Answer:
            verb = Adjust(
                id_,
                targets or self._targets(claims),
                amount,
                any_window=targets is not None,
                trace=span.trace,
                reason=reason,
                bill=bill,
            )
            call = self._follower.call(Op.ADJUST)
            answer = await self.store.adjust(verb)
            self._follower.note(answer, span, call)
            return answer

        status: str = names.UNPROTECTED
        try:
            answer = await until_decided(attempt, time_limit=self._timeout)
            status = Status.ADJUSTED
        finally:
            self._follower.finish(span, status, is_uncertain=status is names.UNPROTECTED)
        if answer.status is Status.ADJUSTED:
            return answer
        # The id is this call's own, so an attempt whose answer was lost has booked it.
        self._follower.leave_untold(span)
        latest = await self.store.latest(count=JOURNAL_PAGE)
        entries = tuple(entry for entry in latest if entry.reservation_id == id_)
        return answer._replace(status=Status.ADJUSTED, entries=entries)

    async def expire(self, reservation_id: str, *, reason: str) -> Answer:
        """An operator's release: the hold is given back now, its owner's finalize is still booked late."""
        return await self._expiries.expire(reservation_id, reason=reason)

    async def sweep(self) -> None:
        """Expire the leases that are over, whoever's they are."""
        await self._expiries.sweep()

    def report_live_holds(self, *, because: str) -> None:
        """Log what is in flight in this event loop, for a shutdown that waits for nobody."""
        self._leases.report(because=because)

    async def drain(self, *, timeout_s: float = 10.0) -> None:
        """Meet every obligation of this event loop, then let go of its tasks and connections.

        What was reserved and has not ended is waited for, up to ``timeout_s``, and then ended by its abort rule. What
        is owed to the store is sent until then, for the store's time-out at least; what it has not answered is left in
        the spool, or logged.
        """
        until_s = time.monotonic() + timeout_s
        # Heartbeats go on meanwhile: a shutdown may be granted more time than a lease.
        await self._leases.end_all(timeout_s=timeout_s)
        await self._leases.stop()
        self._refusals.write()
        owed_s = max(until_s - time.monotonic(), min(timeout_s, self._store_timeout_s))
        left = await self._tasks.drain(timeout_s=owed_s)
        # What these tasks were answered shows how far the journal has to be searched.
        self._follower.look_again()
        self._follower.tell_untold()
        left += await self._tasks.drain(timeout_s=self._store_timeout_s)
        if left:
            _log.error("%d tasks of the ledger were cut off after %g s", left, timeout_s)
        self._endings.close()
        await run_beside(self.telemetry.spans.flush, timeout_s=FLUSH_S)
        await self.store.aclose()


def _told_of_finalize(hold: Hold, ending: Finalize, told: Told) -> names.Attributes:
    own: names.Attributes = {names.AMOUNT_USD: ending.actual.usd / NANOS_PER_USD, names.REASON: ending.reason}
    return {**hold.told(), **own, **told()}


def _told_of_release(hold: Hold, ending: Release) -> names.Attributes:
    return {**hold.told(), names.REASON: ending.reason}
