"""Copies a store's journal as long as a process lives, in a task beside its requests.

Only who has the lease copies; all others ask for it now and then, so that one of them goes on where it dies. Where the
database or the store is away the task tries again, less and less often: the journal keeps what was not copied, and a
warning comes before it has to drop any of that.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from zoneinfo import ZoneInfo

from budget_middleware.databases.errors import DatabaseFault
from budget_middleware.history.connections import HistoryDatabase
from budget_middleware.history.copiers import Copiers
from budget_middleware.history.copying import RENEW_S, Copied, Lag
from budget_middleware.history.forgetting import forget_before
from budget_middleware.history.one_thread import OneThread
from budget_middleware.repeated_look import RepeatedLook
from budget_middleware.stores.base import Store
from budget_middleware.stores.errors import NO_ANSWER
from budget_middleware.telemetry import HistoryGauges

EVERY_S = 1.0
CATCH_UP_S = 0.01
"""Between two pages: requests in this event loop go first."""

FORGET_EVERY_S = 600.0
_LONGEST_PAUSE_S = 30.0
_DAY_MS = 86_400_000
WARN_SHARE = 0.5
"""The share of the journal that may wait to be copied before a warning."""

_FAULTS = (DatabaseFault, *NO_ANSWER, OSError)

_log = logging.getLogger("budget_middleware")


class HistoryFollower:
    """Follows one store. ``open_history`` connects to its database, which may be away at first."""

    def __init__(
        self,
        store: Store,
        open_history: Callable[[], HistoryDatabase],
        *,
        namespace: str,
        timezone: ZoneInfo,
        journal_max: int,
        days: int,
    ) -> None:
        self._store = store
        self._open_history = open_history
        self._namespace = namespace
        self._timezone = timezone
        self._journal_max = journal_max
        self._days = days
        self._thread = OneThread()
        self._copiers: Copiers | None = None
        self._looking = RepeatedLook(self.look)
        self._n_failed = 0
        self._is_warned = False
        self._forget_at_s = 0.0
        self.gauges = HistoryGauges(lambda: self.lag.entries, lambda: self.lag.seconds)

    @property
    def lag(self) -> Lag:
        """How far the history is behind; nothing where another process copies."""
        return self._copiers.lag if self._copiers else Lag()

    def start(self) -> None:
        self._looking.start()

    async def stop(self, *, timeout_s: float) -> None:
        """Copy what is there, within that time, and leave the lease to others."""
        try:
            await self._looking.stop()
            with suppress(*_FAULTS):
                async with asyncio.timeout(timeout_s):
                    if self._n_failed == 0:
                        while (await self._copy()).is_behind:
                            pass
                    if self._copiers:
                        await self._copiers.give_up()
        finally:
            # Who starts again connects anew.
            thread, self._thread, self._copiers = self._thread, OneThread(), None
            thread.close()
        with suppress(TimeoutError):
            # It waits for what the database is at, which may hang.
            async with asyncio.timeout(timeout_s):
                await thread.is_over()

    async def look(self) -> float:
        """Copy what is there, a page of it; how many seconds to wait before the next look."""
        try:
            copied = await self._copy()
        except _FAULTS as error:
            return await self._pause_after(error)
        except Exception:  # noqa: BLE001 - a bug of ours must not end the history without a word
            _log.exception("the history could not be copied")
            self._n_failed += 1
            return self._longer_pause_s()
        if self._n_failed:
            _log.info("the history is copied again")
            self._n_failed = 0
        self._warn_if_far_behind()
        if copied.is_behind:
            return CATCH_UP_S
        return EVERY_S if self._copiers and self._copiers.ledgers else RENEW_S

    async def _copy(self) -> Copied:
        if self._copiers is None:
            database = await self._thread.open(self._open_history)
            self._copiers = Copiers(
                self._store, database, namespace=self._namespace, timezone=self._timezone, thread=self._thread
            )
        copied = await self._copiers.copy_next()
        if not copied.is_behind and asyncio.get_running_loop().time() >= self._forget_at_s:
            await self._forget(self._copiers)
        return copied

    async def _forget(self, copiers: Copiers) -> None:
        before_ms = (await self._store.head()).now_ms - self._days * _DAY_MS
        is_more = False
        for ledger in copiers.ledgers:
            is_more |= await self._thread.run(partial(forget_before, copiers.database, ledger, before_ms))
        self._forget_at_s = asyncio.get_running_loop().time() + (EVERY_S if is_more else FORGET_EVERY_S)

    async def _pause_after(self, error: BaseException) -> float:
        if self._n_failed == 0:
            _log.warning("the history waits, the journal keeps what it lacks: %s", error)
        self._n_failed += 1
        if self._copiers is not None and isinstance(error, DatabaseFault):
            with suppress(*_FAULTS):
                await self._copiers.measure_lag()
            self._warn_if_far_behind()
        return self._longer_pause_s()

    def _longer_pause_s(self) -> float:
        longest_s = min(_LONGEST_PAUSE_S, EVERY_S * 2 ** min(self._n_failed, 10))
        return random.uniform(longest_s / 2, longest_s)  # noqa: S311 - spreads the workers, and hides nothing

    def _warn_if_far_behind(self) -> None:
        n_behind = self._copiers.most_behind if self._copiers else 0
        is_far = n_behind > WARN_SHARE * self._journal_max
        if is_far and not self._is_warned:
            _log.error(
                "the history is %d entries behind, and the journal keeps %d: what is dropped before it is copied is"
                " lost to the history; see the warning before this one, or raise BUDGET_JOURNAL_MAX",
                n_behind, self._journal_max,
            )  # fmt: skip
        self._is_warned = is_far
