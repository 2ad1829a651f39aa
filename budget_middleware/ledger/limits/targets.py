"""Turns claims into counters: finds the current window and limit of each, and remembers them while they last."""

from collections.abc import Iterable
from typing import NamedTuple
from zoneinfo import ZoneInfo

from budget_middleware.core.limits.limits import Claim, increased
from budget_middleware.core.limits.modes import Watch, watches_of
from budget_middleware.core.model import Carry, Target
from budget_middleware.core.windows import Window, has_lapsed, previous_window, window_at

KNOWN_MAX = 4_096


class Chosen(NamedTuple):
    """Targets, and the time in which their windows and increases hold (milliseconds, until is not in it).

    ``watches`` are what is to be judged of them besides: nothing, for most requests. ``count_money_only``: none counts
    tokens or requests.
    """

    targets: tuple[Target, ...]
    watches: tuple[Watch, ...]
    since_ms: int
    until_ms: int
    count_money_only: bool


class TargetChooser:
    """Chooses windows in one time zone."""

    def __init__(self, timezone: ZoneInfo) -> None:
        self._timezone = timezone
        self._known: dict[tuple[Claim, ...], Chosen] = {}

    def targets(self, claims: Iterable[Claim], *, now_ms: int) -> tuple[Target, ...]:
        """The counters of claims at a time of the store; the same object again as long as it holds."""
        return self.choose(claims, now_ms=now_ms).targets

    def choose(self, claims: Iterable[Claim], *, now_ms: int) -> Chosen:
        """The counters of claims at a time of the store, and what is to be judged of them."""
        claims = tuple(claims)
        known = self._known.get(claims)
        if known is None or not known.since_ms <= now_ms < known.until_ms:
            known = self._choose(claims, now_ms)
            if len(self._known) >= KNOWN_MAX:
                self._known.clear()
            self._known[claims] = known
        return known

    def _choose(self, claims: tuple[Claim, ...], now_ms: int) -> Chosen:
        windows = [window_at(claim.period, time_ms=now_ms, timezone=self._timezone) for claim in claims]
        lapses = [each.until_ms for claim in claims for each in claim.all_increases]
        targets = tuple(
            target_in(window, claim, now_ms=now_ms, timezone=self._timezone)
            for claim, window in zip(claims, windows, strict=True)
        )
        return Chosen(
            targets,
            watches_of(claims, targets, now_ms=now_ms),
            max((*(window.starts_ms for window in windows), *(at for at in lapses if at <= now_ms)), default=now_ms),
            min((*(window.ends_ms for window in windows), *(at for at in lapses if at > now_ms)), default=now_ms),
            not any(target.place for target in targets),
        )


def target_in(window: Window, claim: Claim, *, now_ms: int, timezone: ZoneInfo) -> Target:
    """The counter of a claim in a window, under its limit at a time of the store."""
    carry = None
    if claim.carry and claim.limit is not None:
        carry = Carry(claim.carry, claim.limit, previous_window(window, timezone=timezone).id)
    return Target(claim.account, window, _limit(claim, window, now_ms), claim.unit, carry)


def _limit(claim: Claim, window: Window, now_ms: int) -> int | None:
    if has_lapsed(window):
        return None if claim.limit is None else 0
    return increased(claim.limit, claim.increases, now_ms)
