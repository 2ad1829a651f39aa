"""Wires the parts of a ledger, and runs what concerns all of them: start, heartbeat, loss, shutdown."""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from zoneinfo import ZoneInfo

from budget_middleware.core.answers import Entry
from budget_middleware.core.costs.usage import TokensCounted
from budget_middleware.core.limits.limits import LimitRule
from budget_middleware.ledger.calls.deferred_spans import DeferredSpans
from budget_middleware.ledger.calls.shard_monitors import monitor_of
from budget_middleware.ledger.calls.verb_call import VerbCalls
from budget_middleware.ledger.endings.endings import Endings
from budget_middleware.ledger.endings.spool import Spool
from budget_middleware.ledger.endings.spool_file import SpoolFile
from budget_middleware.ledger.expiries import Expiries
from budget_middleware.ledger.growing import Growing
from budget_middleware.ledger.holds.leases import LeaseKeeper
from budget_middleware.ledger.jobs.texts import JobTexts
from budget_middleware.ledger.jobs.tickets import Tickets
from budget_middleware.ledger.limits.layers import LimitLayers, LimitsSource
from budget_middleware.ledger.limits.targets import TargetChooser
from budget_middleware.ledger.local_ledger import LocalLedger
from budget_middleware.ledger.reserving import Reserving
from budget_middleware.ledger.sending import Sender
from budget_middleware.ledger.sharing.answering_models import AnsweringModels
from budget_middleware.ledger.sharing.learner import Learner
from budget_middleware.ledger.sharing.operator_notes import OperatorNotes
from budget_middleware.ledger.sharing.refusal_log import RefusalLog
from budget_middleware.ledger.sharing.settings_watch import SettingsWatch
from budget_middleware.ledger.tasks import OwnedTasks, run_in_thread
from budget_middleware.ledger.waiting.room import WaitingRoom
from budget_middleware.prices import PriceBook, UnknownModel
from budget_middleware.shared_timeout import SharedTimeout
from budget_middleware.stores.base import Store
from budget_middleware.stores.errors import StoreRefused, StoreUnavailable
from budget_middleware.telemetry import Gauges, Telemetry

_log = logging.getLogger("budget_middleware")

FOLLOWED_ENTRIES = 500
"""The last changes of any worker whose figures each heartbeat reads."""

FLUSH_S = 2.0
"""How long a shutdown waits for spans to be exported."""


class LedgerParts:
    """What one ledger is made of. See `Ledger`, which adds the verbs."""

    def __init__(
        self,
        store: Store,
        *,
        limits: Iterable[LimitRule] = (),
        limits_source: LimitsSource | None = None,
        prices: PriceBook | None = None,
        tokens_counted: TokensCounted = TokensCounted.ALL,
        timezone: ZoneInfo | None = None,
        enforce: bool = True,
        lease_ms: int = 60_000,
        store_timeout_s: float = 0.5,
        max_hold_s: float = math.inf,
        idle_hold_s: float = math.inf,
        spool_max: int = 10_000,
        spool_path: Path | None = None,
        wait_max: int = 1_000,
        fingerprint: str = "",
        telemetry: Telemetry | None = None,
    ) -> None:
        self.store = store
        self.telemetry = telemetry or Telemetry()
        self.prices = prices or PriceBook({}, unknown=UnknownModel(None))
        self.tokens_counted = tokens_counted
        self._timeout = timeout = SharedTimeout(store_timeout_s, is_silent=store.is_silent)
        self._tasks = tasks = OwnedTasks()
        self._local = local = LocalLedger(lease_ms=lease_ms)
        self._monitor = monitor = monitor_of(store, tasks=tasks, on_loss=self._on_loss)
        # The store's clock, by its last reply. Every answer's headers ask for it.
        self.store_time_ms: Callable[[], int] = monitor.time_ms
        self._deferred_spans = DeferredSpans(monitor=monitor, telemetry=self.telemetry, tasks=tasks)
        self._waiting = WaitingRoom(store, at_most=wait_max)
        self._calls = calls = VerbCalls(
            monitor=monitor,
            deferred_spans=self._deferred_spans,
            telemetry=self.telemetry,
            waiting=self._waiting,
        )
        self._layers = LimitLayers(
            store,
            limits,
            tasks=tasks,
            on_outage=lambda began_s: calls.breaker.record_outage(began_s=began_s),
            limits_source=limits_source,
            source_timeout_s=store_timeout_s,
        )
        self._growing = growing = Growing(
            store, calls=calls, tasks=tasks, timeout=timeout, local=local, lease_ms=lease_ms
        )
        self._expiries = Expiries(store, calls=calls, growing=growing, lease_ms=lease_ms, timeout=timeout)
        self._leases = LeaseKeeper(
            every_s=lease_ms / 3000,
            extend=self._expiries.extend,
            sweep=self._serve_loop,
            max_hold_s=max_hold_s,
            idle_hold_s=idle_hold_s,
        )
        spool = Spool(at_most=spool_max, file=SpoolFile(spool_path) if spool_path else None)
        self._endings = Endings(
            store, calls=calls, tasks=tasks, timeout=timeout, leases=self._leases, spool=spool, local=local
        )
        self.tickets = Tickets(
            store, leases=self._leases, expiries=self._expiries, endings=self._endings, timeout=timeout, tasks=tasks
        )
        calls.on_expired = self.tickets.note_expired
        self.job_texts = JobTexts(store, timeout=timeout)
        self.sender = Sender(store, calls=calls, expiries=self._expiries)
        self._operator_notes = OperatorNotes(store, tasks=tasks, timeout=timeout)
        self._settings_watch = SettingsWatch(store, fingerprint, tasks=tasks, timeout=timeout)
        self.learner = Learner(store, timeout=timeout)
        self.answering = AnsweringModels(store, tasks=tasks, timeout=timeout, shares=fingerprint != "")
        self._refusals = RefusalLog(store, tasks=tasks, telemetry=self.telemetry, timeout=timeout)
        self._reserving = Reserving(
            store,
            calls=calls,
            layers=self._layers,
            chooser=TargetChooser(timezone or ZoneInfo("UTC")),
            leases=self._leases,
            local=local,
            refusals=self._refusals,
            timeout=timeout,
            lease_ms=lease_ms,
            enforce=enforce,
            endings=self._endings,
        )
        # The last entries of the journal, and how far it was when they were read.
        self._latest: Sequence[Entry] = ()
        self._latest_at: object = None
        self.telemetry.metrics.observe(
            Gauges(
                reserved_by_kind=lambda: self._expiries.reserved_by_kind,
                oldest_s=self._leases.oldest_s,
                spooled=lambda: self._endings.waiting,
            )
        )

    def start(self) -> None:
        """Begin to tend leases and spool now; else that begins with the first hold of an event loop."""
        self._endings.adopt()
        self._leases.start()
        self._settings_watch.check()
        self.answering.check()

    async def _serve_loop(self) -> None:
        self._endings.adopt()
        self._settings_watch.check()
        self.answering.check()
        self._deferred_spans.retry()
        await self._expiries.sweep()
        await self._monitor.look_for_loss()
        await self.learner.share()
        # By these figures this worker goes on where the store is away, also for what it did not serve itself.
        self._local.record_entries(await self._latest_entries())

    async def _latest_entries(self) -> Sequence[Entry]:
        """Read anew only if the sweep has shown that something was written: they are many, and most gateways idle."""
        position = self._monitor.seen
        if position != self._latest_at or not await self._are_last_still_there():
            self._latest = await self.store.latest(count=FOLLOWED_ENTRIES)
            self._latest_at = position
        return self._latest

    async def _are_last_still_there(self) -> bool:
        """Not after a failover, where as much was written since as it had lost: the position is the same."""
        shards = self._monitor.by_shard()
        for shard, last in {entry.shard: entry for entry in self._latest}.items():
            page = await shards[shard].store.journal(after_seq=last.seq - 1, count=1)
            if [entry._replace(shard=shard) for entry in page[:1]] != [last]:
                return False
        return True

    def _on_loss(self) -> None:
        """The store has lost writes: endings, and limits perhaps."""
        self._latest_at = None
        self._layers.suspect()
        self._tasks.spawn(self._check_limits())
        self._endings.replay()

    async def _check_limits(self) -> None:
        # The next reserve tries again.
        with suppress(StoreUnavailable, StoreRefused):
            await self._layers.check()

    async def drain(self, *, timeout_s: float = 10.0) -> None:
        """Meet every obligation of this event loop, then let go of its tasks and connections.

        What was reserved and has not ended is waited for, up to ``timeout_s``, and then ended by its abort rule. What
        is owed to the store is sent until then, for the store's time-out at least; what it has not answered is left in
        the spool, or logged. Endings that are left have a last attempt each, all of them within another time-out.
        """
        until_s = time.monotonic() + timeout_s
        last_s = self._timeout.timeout_s
        over_s = until_s + 2 * last_s
        await self._waiting.close()
        # Heartbeats go on meanwhile: a shutdown may be granted more time than a lease.
        await self._leases.end_all(timeout_s=timeout_s)
        await self._leases.stop()
        self._refusals.write()
        owed_s = max(until_s - time.monotonic(), min(timeout_s, last_s))
        left = await self._tasks.drain(timeout_s=owed_s, last_s=last_s)
        # What these tasks were answered shows how far the journal has to be searched.
        self._deferred_spans.retry()
        self._deferred_spans.export()
        searched_s = max(0.0, min(last_s, over_s - time.monotonic()))
        left += await self._tasks.drain(timeout_s=searched_s, last_s=searched_s)
        with suppress(TimeoutError):
            async with asyncio.timeout(over_s - time.monotonic()):
                await self.learner.share()
        if left:
            _log.error("%d tasks of the ledger were cut off after %g s", left, timeout_s)
        self._endings.close()
        await run_in_thread(self.telemetry.spans.flush, timeout_s=FLUSH_S)
        await self.store.aclose()
