"""The windows of a report, by their ids."""

from zoneinfo import ZoneInfo

from budget_middleware.core.periods import Period
from budget_middleware.core.windows import FOREVER_MS, window_at

ALL_TIME = ""
"""Stands for the id where all time is one window."""


class Windows:
    """Those of a period in a time zone; ``per`` is None where all time is one."""

    def __init__(self, per: Period | None, timezone: ZoneInfo) -> None:
        self._per = per
        self._timezone = timezone
        self._starts_ms: dict[str, int] = {}

    def around(self, time_ms: int) -> tuple[str, int, int]:
        """The id of the window that a time is in, when that begins, and when it is over."""
        if self._per is None:
            return ALL_TIME, 0, FOREVER_MS
        window = window_at(self._per, time_ms=time_ms, timezone=self._timezone)
        self._starts_ms[window.id] = window.starts_ms
        return window.id, window.starts_ms, window.ends_ms

    def id_at(self, time_ms: int) -> str:
        return self.around(time_ms)[0]

    @property
    def order(self) -> list[str] | None:
        """All that were asked for, the earliest first; None where all time is one."""
        return None if self._per is None else sorted(self._starts_ms, key=self._starts_ms.__getitem__)
