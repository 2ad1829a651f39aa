"""What is looked at every minute, and once a night: the pace of counters, the age of holds, figures that drift."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from zoneinfo import ZoneInfo

from budget_middleware.alerts.board import Board
from budget_middleware.alerts.watching import Due, Watcher
from budget_middleware.core.alerts.alerts import drift_alert, forecast_alert, hold_alert
from budget_middleware.core.alerts.plan import AlertPlan
from budget_middleware.core.alerts.rules import audit_day, expected_by_the_end, is_old, spends_too_fast
from budget_middleware.stores.base import Store
from budget_middleware.stores.errors import StoreRefused, StoreUnavailable

EVERY_MS = 60_000
_HOLD_TOLD_MS = 30 * 86_400_000
_DRIFT_TOLD_MS = 86_400_000
AUDIT_AGAIN_MS = 3_600_000
"""So long after an audit began that nobody ended, another worker begins it again."""

_log = logging.getLogger("budget_middleware")

RunAudit = Callable[[], Awaitable[Sequence[str]]]
"""Audits all counters; a line for each figure that nothing explains."""


class Rounds:
    """The rounds of the worker that has the lease."""

    def __init__(
        self, store: Store, board: Board, watcher: Watcher, plan: AlertPlan, *, name: str, timezone: ZoneInfo,
        lease_ms: int, run_audit: RunAudit | None,
    ) -> None:  # fmt: skip
        self._store = store
        self._board = board
        self._watcher = watcher
        self._plan = plan
        self._name = name
        self._timezone = timezone
        self._lease_ms = lease_ms
        self._run_audit = run_audit
        self._next_ms = 0
        self._audit: asyncio.Task[Sequence[str]] | None = None
        self._audit_day = ""
        self._to_keep: dict[str, dict[str, Any]] = {}

    async def look(self, now_ms: int) -> list[Due]:
        """What is due now. StoreUnavailable, StoreRefused or StandBackError."""
        found = await self._look_for_drift(now_ms)
        if now_ms < self._next_ms:
            return found
        self._next_ms = now_ms + EVERY_MS
        return [*found, *await self._look_at_pace(now_ms), *await self._look_at_holds(now_ms)]

    async def keep(self) -> None:
        """Write down how far these rounds are, once what they found was told: whoever goes on begins there."""
        for name, fields in self._to_keep.items():
            await self._board.put(name, fields)
        self._to_keep.clear()

    async def stop(self) -> None:
        if self._audit is not None:
            self._audit.cancel()
            await asyncio.gather(self._audit, return_exceptions=True)

    async def _look_at_pace(self, now_ms: int) -> list[Due]:
        if not self._plan.has_forecast:
            return []
        found: list[Due] = []
        known = self._board.get("forecasts")
        # [how often it began, whether it is on, when it is forgotten] by counter and limit.
        after = {name: state for name, state in known.items() if state[2] > now_ms}
        for counter, (spent, limit, window) in list(self._watcher.active.items()):
            if window.ends_ms <= now_ms:
                del self._watcher.active[counter]
                continue
            name = f"{counter.name}|{limit}"
            number, was_too_fast, _ = after.get(name, (0, False, 0))
            expected = expected_by_the_end(spent, window, limit=limit, now_ms=now_ms)
            is_too_fast = spends_too_fast(expected, spent=spent, limit=limit, was_too_fast=was_too_fast)
            if is_too_fast == was_too_fast:
                continue
            number += is_too_fast
            after[name] = [number, is_too_fast, window.ends_ms]
            if is_too_fast and expected is not None:
                alert = forecast_alert(
                    self._name, counter, spent=spent, expected=expected, limit=limit, number=number, time_ms=now_ms
                )
                found.append(Due(alert, window.ends_ms))
        self._to_keep["forecasts"] = after
        return found

    async def _look_at_holds(self, now_ms: int) -> list[Due]:
        old_ms = self._plan.old_hold_ms
        if old_ms is None:
            return []
        holds = await self._store.holds()
        return [
            Due(hold_alert(self._name, hold, now_ms=now_ms), hold.created_ms + _HOLD_TOLD_MS)
            for hold in holds
            if is_old(hold, now_ms=now_ms, old_ms=old_ms, lease_ms=self._lease_ms)
        ]

    async def _look_for_drift(self, now_ms: int) -> list[Due]:
        if self._audit is not None and self._audit.done():
            return await self._end_audit(now_ms)
        minute = self._plan.audit_minute
        if self._run_audit is None or minute is None or self._audit is not None:
            return []
        day = audit_day(now_ms, at_minute=minute, timezone=self._timezone)
        last = self._board.get("audit")
        is_begun = last.get("day") == day and (last.get("is_done") or now_ms < last.get("at_ms", 0) + AUDIT_AGAIN_MS)
        if day is None or is_begun:
            return []
        await self._board.put("audit", {"day": day, "at_ms": now_ms, "is_done": not last})
        if not last:
            # Alerts were set up today: the first night is the next one.
            return []
        self._audit_day = day
        self._audit = asyncio.ensure_future(self._run_audit())
        return []

    async def _end_audit(self, now_ms: int) -> list[Due]:
        assert self._audit is not None, "it has begun"
        audit, self._audit = self._audit, None
        try:
            lines = list(audit.result())
        except (StoreUnavailable, StoreRefused, OSError) as error:
            _log.warning("the nightly audit could not be done and is tried again: %s", error)
            return []
        except Exception:  # noqa: BLE001 - a bug of ours must not end the alerts
            _log.exception("the nightly audit failed and is tried again")
            return []
        self._to_keep["audit"] = {"day": self._audit_day, "at_ms": now_ms, "is_done": True}
        _log.info("the nightly audit of %s has found %d figures that nothing explains", self._name, len(lines))
        if not lines:
            return []
        return [Due(drift_alert(self._name, lines, day=self._audit_day, time_ms=now_ms), now_ms + _DRIFT_TOLD_MS)]
