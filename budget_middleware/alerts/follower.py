"""Follows the journal of a ledger as long as a process lives, and tells operators of what it sees, in its own task.

Theory of operation. Of all workers the one with the lease follows; the others ask for it now and then, so that one of
them goes on where it dies. A look reads the next entries of each journal (`reading`), finds what they set off
(`watching`), and tells each alert once (`board`): it is queued for the receivers (`queue`, `courier`), logged and
counted. Only then the position moves, so that a worker that is killed anywhere in between leaves nothing untold. What
the journal dropped before it was read is an alert of its own, and whatever is passed by now is told late.

Each worker tells by itself that the store is away: its queue is there.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from zoneinfo import ZoneInfo

from budget_middleware.alerts.board import LEASE_MS, Board, StandBackError
from budget_middleware.alerts.courier import Courier
from budget_middleware.alerts.outage import OutageWatch
from budget_middleware.alerts.queue import WAITING_MAX, AlertQueue
from budget_middleware.alerts.reading import Page, next_page, unpack_read_to
from budget_middleware.alerts.rounds import Rounds, RunAudit
from budget_middleware.alerts.watching import Due, Watcher
from budget_middleware.core.alerts.alerts import Alert, AlertRule, gap_alert
from budget_middleware.core.alerts.plan import AlertPlan
from budget_middleware.ledger import Ledger
from budget_middleware.repeated_look import RepeatedLook
from budget_middleware.stores.base import Store
from budget_middleware.stores.errors import NO_ANSWER, StoreUnavailable
from budget_middleware.stores.journals import journals_of

EVERY_S = 1.0
CATCH_UP_S = 0.01
"""Between two pages: requests in this event loop go first."""

RENEW_S = LEASE_MS / 3000
"""So often the lease is renewed, so that one renewal may fail, and asked for by those that stand by."""

_GAP_TOLD_MS = 7 * 86_400_000
_LONGEST_PAUSE_S = 30.0

_FAULTS = (*NO_ANSWER, OSError)

_log = logging.getLogger("budget_middleware")


class AlertFollower:
    """Follows one ledger. ``name`` is what operators call it, ``run_audit`` what the nightly audit is."""

    def __init__(
        self, ledger: Ledger, plan: AlertPlan, *, name: str, timezone: ZoneInfo, lease_ms: int,
        run_audit: RunAudit | None = None, send_timeout_s: float = 10.0, owner: str = "",
    ) -> None:  # fmt: skip
        self._ledger = ledger
        self._store = ledger.store
        self._name = name
        self.owner = owner or secrets.token_hex(4)
        self._board = Board(ledger.store, owner=self.owner)
        self._queue = AlertQueue(ledger.store)
        self.courier = Courier(
            self._queue, plan.receivers, ledger=name, telemetry=ledger.telemetry, now_ms=self.now_ms,
            timeout_s=send_timeout_s,
        )  # fmt: skip
        self._outage = OutageWatch(
            plan.receivers, name=name, worker=self.owner, telemetry=ledger.telemetry, timeout_s=send_timeout_s
        )
        self._watcher = Watcher(ledger, name=name, timezone=timezone, percents=plan.percents)
        self._rounds = Rounds(
            ledger.store, self._board, self._watcher, plan, name=name, timezone=timezone, lease_ms=lease_ms,
            run_audit=run_audit,
        )  # fmt: skip
        self._offset_ms = 0
        self._renew_at_s = 0.0
        self._generations: dict[str, str] = {}
        self._looking = RepeatedLook(self.look)
        self._n_failed = 0
        self.has_lease = False

    def now_ms(self) -> int:
        """The store's clock, by its last answer."""
        return time.time_ns() // 1_000_000 + self._offset_ms

    def start(self) -> None:
        self._looking.start()

    async def stop(self, *, timeout_s: float) -> None:
        """Look once more, within that time, and leave the lease to others."""
        await self._looking.stop()
        with suppress(*_FAULTS, StandBackError):
            async with asyncio.timeout(timeout_s):
                if self.has_lease and self._n_failed == 0:
                    while await self.look() == CATCH_UP_S:
                        pass
                    await self.courier.wait_until_sent()
        await self.courier.stop()
        await self._outage.stop()
        await self._rounds.stop()
        with suppress(*_FAULTS, StandBackError):
            async with asyncio.timeout(timeout_s):
                if self.has_lease:
                    await self._board.give_up_lease()

    async def look(self) -> float:
        """Tell what there is to tell, of a page of each journal; how many seconds to wait before the next look."""
        try:
            is_behind = await self._look()
        except StandBackError:
            self._lose_lease()
            return RENEW_S
        except _FAULTS as error:
            if isinstance(error, StoreUnavailable | TimeoutError | OSError):
                self._outage.see_away()
            if self._n_failed == 0:
                _log.warning("alerts wait, the journal keeps what is not looked at: %s", error)
            return self._pause_s()
        except Exception:  # noqa: BLE001 - a bug of ours must not end the alerts without a word
            _log.exception("the journal could not be looked at for alerts")
            return self._pause_s()
        self._outage.see_answer()
        self._n_failed = 0
        if not self.has_lease:
            return RENEW_S
        return CATCH_UP_S if is_behind else EVERY_S

    def _pause_s(self) -> float:
        self._n_failed += 1
        self._queue.forget()
        self._renew_at_s = 0.0
        return min(_LONGEST_PAUSE_S, EVERY_S * float(2 ** min(self._n_failed, 10)))

    def _lose_lease(self) -> None:
        self.has_lease, self._renew_at_s = False, 0.0
        self._queue.forget()

    async def _look(self) -> bool:
        journals = await journals_of(self._store)
        now_ms = await self._store_time_ms()
        self._outage.see_answer()
        loop_s = asyncio.get_running_loop().time()
        if not self.has_lease or loop_s >= self._renew_at_s:
            had_lease, self.has_lease = self.has_lease, await self._board.take_lease(now_ms)
            self._renew_at_s = loop_s + RENEW_S
            if not self.has_lease:
                self._lose_lease()
                return False
            if not had_lease:
                self._queue.forget()
        await self._queue.load()
        is_behind = False
        for name, journal in journals.items():
            is_behind |= await self._read(name, journal, now_ms)
        await self._alert_once(await self._rounds.look(now_ms), now_ms)
        await self._rounds.keep()
        await self.courier.give_up_removed()
        self.courier.begin()
        return is_behind

    async def _store_time_ms(self) -> int:
        head = await self._store.head()
        self._offset_ms = head.now_ms - time.time_ns() // 1_000_000
        return int(head.now_ms)

    async def _read(self, name: str, journal: Store, now_ms: int) -> bool:
        kept = f"read_to:{name}"
        page = await next_page(journal, unpack_read_to(self._board.get(kept)))
        page = self._with_lost_position(name, page)
        due: Sequence[Due] = await self._watcher.look_at(page.entries, limits_version=page.limits_version)
        if page.gap:
            seq = page.read_to.position.seq
            alert = gap_alert(self._name, name, page.gap, seq=seq, time_ms=now_ms)
            late = await self._watcher.look_at_all(now_ms, limits_version=page.limits_version)
            due = [Due(alert, now_ms + _GAP_TOLD_MS), *late, *due]
        await self._alert_once(due, now_ms)
        await self._board.put(kept, page.read_to.packed())
        self._generations[name] = page.read_to.generation
        return page.is_behind

    def _with_lost_position(self, name: str, page: Page) -> Page:
        """Where the board was lost with the store, this worker may know that there was another one before."""
        before, now = self._generations.get(name), page.read_to.generation
        if page.gap or before in (None, now):
            return page
        return page._replace(gap="another store answers than before: it was emptied, or replaced")

    async def _alert_once(self, due: Sequence[Due], now_ms: int) -> None:
        for alert, until_ms in due:
            if not await self._board.begin_telling(alert.id, until_ms=until_ms, now_ms=now_ms):
                continue
            has_room = not self.courier.names or await self._queue.add(alert, self.courier.names)
            if has_room:
                _log.warning("alert: %s (%s)", alert.summary, alert.id)
            else:
                _log.error("alert, and no room to send it, %d wait: %s (%s)", WAITING_MAX, alert.summary, alert.id)
                self._ledger.telemetry.metrics.count_delivery(shape="all", outcome="left_out")
                left_out = self._board.get("left_out")
                await self._board.put("left_out", {"alerts": left_out.get("alerts", 0) + 1, "last_ms": now_ms})
            self._count(alert)
            await self._board.end_telling(alert.id, until_ms=until_ms, now_ms=now_ms)

    def _count(self, alert: Alert) -> None:
        metrics, facts = self._ledger.telemetry.metrics, alert.facts
        metrics.count_raised(rule=alert.rule)
        if alert.rule is AlertRule.SPENT:
            percent = int(facts["percent"])
            metrics.count_alert(
                account=alert.account, mode=facts["mode"], unit=facts["unit"], percent=percent, context=None
            )
