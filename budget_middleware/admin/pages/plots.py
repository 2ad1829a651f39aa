"""The burn-down of a counter as paths of an SVG: what was left, an even pace, and where its own pace leads to.

The coordinates are integers within WIDTH and HEIGHT, which the page stretches: nothing else stands in the SVG, so that
no letter is stretched with it.
"""

from dataclasses import dataclass
from typing import Final

from budget_middleware.operations.burn_down import BurnDown

WIDTH: Final = 1_000
HEIGHT: Final = 400


@dataclass(frozen=True, slots=True)
class Plot:
    """``left`` is the line of what was left, ``area`` the same down to nothing; ``forecast`` is empty without one."""

    left: str
    area: str
    even_pace: str
    forecast: str
    now_x: int


def plot_of(burn_down: BurnDown) -> Plot:
    limit = burn_down.row.limit
    assert limit is not None, "only a limit burns down"
    scale = _Scale(burn_down.starts_ms, burn_down.ends_ms, max(1, limit.amount))
    steps: list[str] = []
    for time_ms, spent in burn_down.points:
        x, y = scale.x(time_ms), scale.y(spent)
        # What is spent is spent at once.
        steps.append(f"H{x}V{y}" if steps else f"M{x} {y}")
    line = "".join(steps)
    first_x, last_x = scale.x(burn_down.points[0][0]), scale.x(burn_down.points[-1][0])
    return Plot(
        left=line,
        area=f"{line}V{HEIGHT}H{first_x}Z",
        even_pace=f"M0 0L{WIDTH} {HEIGHT}",
        forecast=_forecast(burn_down, scale),
        now_x=last_x,
    )


def _forecast(burn_down: BurnDown, scale: "_Scale") -> str:
    ahead = burn_down.forecast
    now_ms, spent = burn_down.points[-1]
    if ahead is None or now_ms >= burn_down.ends_ms:
        return ""
    if ahead.reaches_limit_ms is None:
        return f"M{scale.x(now_ms)} {scale.y(spent)}L{WIDTH} {scale.y(ahead.spent_at_end)}"
    if ahead.reaches_limit_ms <= now_ms:
        return ""
    return f"M{scale.x(now_ms)} {scale.y(spent)}L{scale.x(ahead.reaches_limit_ms)} {HEIGHT}"


@dataclass(frozen=True, slots=True)
class _Scale:
    starts_ms: int
    ends_ms: int
    limit: int

    def x(self, time_ms: int) -> int:
        return _within((time_ms - self.starts_ms) * WIDTH // (self.ends_ms - self.starts_ms), WIDTH)

    def y(self, spent: int) -> int:
        return _within(spent * HEIGHT // self.limit, HEIGHT)


def _within(value: int, most: int) -> int:
    return max(0, min(value, most))
