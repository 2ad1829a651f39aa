"""The timelines of docs/windows.md, drawn by the functions that choose windows at run time.

The first line of each drawing says what it shows: `month@15 Europe/Berlin from 2026-02-20T12:00Z`.

python -m tests.window_timelines    draws them anew
"""

import re
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

from budget_middleware.core.windows import FOREVER_MS, Period, Window, counted_windows, is_rolling, window_at

PAGE = Path(__file__).parents[1] / "docs" / "windows.md"

_DRAWING = re.compile(r"^```text\n(?=.+ from \d{4}-)(.*?)^```$", re.DOTALL | re.MULTILINE)
_NARROWEST, _WIDEST = 22, 28


def redrawn(page: str) -> str:
    """The page with each of its drawings made anew from its first line."""
    return _DRAWING.sub(lambda found: f"```text\n{drawing(found[1].splitlines()[0])}```", page)


def drawing(title: str) -> str:
    text, zone, _, iso = title.split()
    period, timezone = Period(text), ZoneInfo(zone)
    time_ms = int(datetime.fromisoformat(iso).timestamp()) * 1000
    lines = _rolling(period, time_ms) if is_rolling(period) else _calendar(period, timezone, time_ms)
    return "".join(f"{line.rstrip()}\n" for line in (title, "", *lines))


def _calendar(period: Period, timezone: ZoneInfo, time_ms: int) -> list[str]:
    windows = [window_at(period, time_ms=time_ms, timezone=timezone)]
    while len(windows) < 4 and windows[-1].ends_ms < FOREVER_MS:
        windows.append(window_at(period, time_ms=windows[-1].ends_ms, timezone=timezone))
    lengths_ms = [window.ends_ms - window.starts_ms for window in windows]
    widths = [max(_NARROWEST, round(_WIDEST * length_ms / max(lengths_ms))) for length_ms in lengths_ms]
    starts_ms = [window.starts_ms for window in windows]
    return [
        "window".ljust(8) + _bars([window.id for window in windows], widths),
        "local".ljust(8) + _marks([_clock(at_ms, timezone) for at_ms in starts_ms], widths),
        "UTC".ljust(8) + _marks([_clock(at_ms, UTC) for at_ms in starts_ms], widths),
        "lasts".ljust(8) + _centred([_length(window) for window in windows], widths),
    ]


def _rolling(period: Period, time_ms: int) -> list[str]:
    current = window_at(period, time_ms=time_ms, timezone=ZoneInfo("UTC"))
    *before, _ = counted_windows(current)
    widths = [2 * _WIDEST, _NARROWEST]
    counted_ms = [at_ms - before[0].starts_ms for at_ms in (current.starts_ms, time_ms)]
    counts = f"{len(before)} buckets of {_duration(current.ends_ms - current.starts_ms)}"
    looks_back = [
        f"at {_clock(at_ms, UTC)}  the limit looks back over {_duration(ms)}"
        for at_ms, ms in zip((current.starts_ms, time_ms), counted_ms, strict=True)
    ]
    return [
        "counted".ljust(8) + _bars([counts, "the current one"], widths),
        "UTC".ljust(8)
        + _marks([_clock(each.starts_ms, UTC) for each in (before[0], current)], widths)
        + _clock(current.ends_ms, UTC),
        "",
        *looks_back,
        f"at {_clock(current.ends_ms, UTC)}  the bucket of {_clock(before[0].starts_ms, UTC)} falls out",
    ]


def _bars(names: list[str], widths: list[int]) -> str:
    return "|" + "|".join(name.center(width - 1) for name, width in zip(names, widths, strict=True)) + "|"


def _marks(times: list[str], widths: list[int]) -> str:
    return "".join(time.ljust(width) for time, width in zip(times, widths, strict=True))


def _centred(texts: list[str], widths: list[int]) -> str:
    return " " + " ".join(text.center(width - 1) for text, width in zip(texts, widths, strict=True))


def _clock(at_ms: int, timezone: tzinfo) -> str:
    if at_ms == 0:
        return "the beginning"
    return f"{datetime.fromtimestamp(at_ms // 1000, timezone):%a %Y-%m-%d %H:%M}"


def _length(window: Window) -> str:
    if window.ends_ms >= FOREVER_MS:
        return "for ever"
    return "" if window.starts_ms == 0 else _duration(window.ends_ms - window.starts_ms)


def _duration(ms: int) -> str:
    days, rest = divmod(timedelta(milliseconds=ms), timedelta(days=1))
    hours, minutes = divmod(rest // timedelta(minutes=1), 60)
    parts = (f"{days} d" if days else "", f"{hours} h" if hours else "", f"{minutes} min" if minutes else "")
    return " ".join(filter(None, parts)) or "0 min"


if __name__ == "__main__":
    PAGE.write_text(redrawn(PAGE.read_text("utf-8")), "utf-8")
