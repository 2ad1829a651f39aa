"""What was left of a limit, from the beginning of its window to now, and where that leads to."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from budget_middleware.core.answers import Entry
from budget_middleware.core.forecast import Forecast, forecast
from budget_middleware.core.units import Unit
from budget_middleware.core.windows import FOREVER_MS, is_rolling, window_named
from budget_middleware.operations.account_facts import AccountFacts
from budget_middleware.operations.rolling import CountedView
from budget_middleware.operations.rows import CounterRow
from budget_middleware.operations.values import Figure, figure, format_amount, iso

_NANOS_PER_CENT = 10_000_000
_POINTS_MAX = 240
"""More cannot be told apart in a plot."""


@dataclass(frozen=True, slots=True)
class BurnDown:
    """What a counter has spent in its window; ``points`` are times and sums, in integers of its unit.

    The window has a beginning and an end: it is neither a rolling one nor that of `total`. Entries that the journal
    does not keep any more are missing: ``since_ms`` is that of the first point.
    """

    row: CounterRow
    starts_ms: int
    ends_ms: int
    now_ms: int
    points: tuple[tuple[int, int], ...]
    forecast: Forecast | None
    sentence: str

    @property
    def since_ms(self) -> int:
        return self.points[0][0]


def burn_downs(facts: AccountFacts, timezone: ZoneInfo) -> dict[CounterRow, BurnDown]:
    """Of the counters of an account that have a limit and an end."""
    found: dict[CounterRow, BurnDown] = {}
    for counted, row in facts.counters:
        if row.limit is not None and (made := _burn_down(facts, counted, row, timezone)):
            found[row] = made
    return found


def _burn_down(facts: AccountFacts, counted: CountedView, row: CounterRow, timezone: ZoneInfo) -> BurnDown | None:
    if is_rolling(row.period) or row.limit is None:
        return None
    try:
        window = window_named(row.period, row.window, timezone=timezone)
    except ValueError:
        return None  # A window of another BUDGET_TIMEZONE, from before it was changed.
    if window.ends_ms >= FOREVER_MS or window.starts_ms == 0:
        return None
    spent, now_ms = counted.view.balance.spent, min(facts.now_ms, window.ends_ms)
    entries = [entry for entry in facts.entries_on(counted) if entry.spent_delta]
    points = _thinned([*_points(entries, window.starts_ms, is_whole=facts.is_journal_whole), (now_ms, spent)])
    ahead = forecast(
        spent=spent, limit=row.limit.amount, starts_ms=window.starts_ms, ends_ms=window.ends_ms, now_ms=now_ms
    )
    sentence = _sentence(row, ahead, spent, timezone)
    return BurnDown(row, window.starts_ms, window.ends_ms, facts.now_ms, tuple(points), ahead, sentence)


def _points(entries: Sequence[Entry], starts_ms: int, *, is_whole: bool) -> Iterable[tuple[int, int]]:
    if not entries:
        return
    first = entries[0]
    if is_whole or first.spent_before == 0:
        yield starts_ms, 0
    yield first.time_ms, first.spent_before
    for entry in entries:
        yield entry.time_ms, entry.spent


def _thinned(points: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The first and the last, and of those between the last of each of so many parts."""
    if len(points) <= _POINTS_MAX:
        return list(points)
    last = len(points) - 1
    places = dict.fromkeys(last * part // (_POINTS_MAX - 1) for part in range(_POINTS_MAX))
    return [points[place] for place in places]


def _sentence(row: CounterRow, ahead: Forecast | None, spent: int, timezone: ZoneInfo) -> str:
    limit: Figure | None = row.limit
    assert limit is not None, "only a limit burns down"
    if spent >= limit.amount:
        return f"The limit of {format_amount(limit)} for {row.window} is spent."
    if not spent:
        return f"Nothing of the {format_amount(limit)} for {row.window} is spent."
    if ahead is None:
        return f"It is too early to tell what {row.window} will come to."
    at_end = _about(ahead.spent_at_end, row.unit)
    if ahead.reaches_limit_ms is None:
        return f"At the pace so far, {at_end} of {format_amount(limit)} will be spent when {row.window} ends."
    when = iso(ahead.reaches_limit_ms, timezone, timespec="minutes")
    return (
        f"At the pace so far, the limit of {format_amount(limit)} is spent at {when},"
        f" before {row.window} ends: it would come to {at_end}."
    )


def _about(amount: int, unit: Unit) -> str:
    """A forecast is no exact figure: money in cents."""
    cents = amount // _NANOS_PER_CENT * _NANOS_PER_CENT if unit is Unit.USD else amount
    return f"about {format_amount(figure(cents, unit))}"
