"""What follows the journal beside a gateway's requests: the copier of the history, and the alerts."""

import asyncio
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from budget_middleware.ledger import Ledger
from budget_middleware.opening import history_follower_of
from budget_middleware.setting_types import Mode
from budget_middleware.settings import Settings
from budget_middleware.stores.opening import MEMORY_URL

if TYPE_CHECKING:
    from budget_middleware.alerts.follower import AlertFollower
    from budget_middleware.alerts.rounds import RunAudit

# The next worker goes on where this one stops: what it cannot do in time, the journal keeps.
STOP_S = 2.0


class Followers:
    """The followers that the settings ask for."""

    def __init__(self, settings: Settings, ledger: Ledger, *, is_store_given: bool) -> None:
        self._settings = settings
        self._ledger = ledger
        self._is_shared = is_store_given or settings.store_url == MEMORY_URL
        self._history = history_follower_of(settings, ledger.store)
        self._alerts = _alert_follower_of(settings, ledger, run_audit=self._audit)

    def start(self) -> None:
        """Begin to follow, if anything is followed."""
        if self._settings.mode is Mode.OFF:
            return
        if self._history:
            self._history.start()
            self._ledger.telemetry.metrics.observe_history(self._history.gauges)
        self.start_alerts()

    def start_alerts(self) -> None:
        """The alerts alone: also where no lifespan says when the server ends."""
        if self._alerts:
            self._alerts.start()

    async def stop(self) -> None:
        timeout_s = min(STOP_S, self._settings.drain_timeout_s)
        if self._alerts:
            await self._alerts.stop(timeout_s=timeout_s)
        if self._history:
            await self._history.stop(timeout_s=timeout_s)

    async def _audit(self) -> Sequence[str]:
        """What a nightly audit finds. It reads all counters, so it has a thread, a loop and a connection of its own."""
        if self._is_shared:
            return await _audited(self._settings, self._ledger)
        return await _in_thread_of_its_own(self._settings)


async def _in_thread_of_its_own(settings: Settings) -> Sequence[str]:
    loop = asyncio.get_running_loop()
    found: asyncio.Future[Sequence[str]] = loop.create_future()

    def run() -> None:
        lines: Sequence[str] = ()
        fault: Exception | None = None
        try:
            lines = asyncio.run(_audited(settings))
        except Exception as error:  # noqa: BLE001 - whoever waits for it handles it
            fault = error
        with suppress(RuntimeError):  # The loop did not wait so long.
            loop.call_soon_threadsafe(end, lines, fault)

    def end(lines: Sequence[str], fault: Exception | None) -> None:
        if found.cancelled():
            return
        if fault is None:
            found.set_result(lines)
        else:
            found.set_exception(fault)

    threading.Thread(target=run, name="budget-audit", daemon=True).start()
    return await found


async def _audited(settings: Settings, ledger: Ledger | None = None) -> Sequence[str]:
    # Imported here, so that gateways without alerts start without the operations.
    from budget_middleware.operations.audits import audit
    from budget_middleware.operations.context import OperatorContext, open_context

    if ledger is not None:
        report = await audit(OperatorContext(settings, ledger.store, ledger))
    else:
        async with open_context(settings) as context:
            report = await audit(context)
    drift = [
        f"{row.account} {row.period} {row.window} {row.unit}: {row.what} is {row.found}, explained is {row.expected}"
        for row in report.drift
    ]
    return [*drift, *(f"{row.key}: {row.what}" for row in report.damage)]


def _alert_follower_of(settings: Settings, ledger: Ledger, *, run_audit: "RunAudit") -> "AlertFollower | None":
    """What tells operators, as BUDGET_ALERTS says; None where it says nothing."""
    if settings.alerts is None or settings.mode is Mode.OFF:
        return None
    # Imported here, as the history is.
    from budget_middleware.alerts.follower import AlertFollower

    ledger.telemetry.has_follower = True
    return AlertFollower(
        ledger,
        settings.alerts,
        name=settings.namespace,
        timezone=settings.timezone,
        lease_ms=settings.lease_ms,
        run_audit=run_audit,
    )
