"""`status`, `holds` and `journal`: what the store holds."""

import asyncio
import sys
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache, partial
from typing import Any, NoReturn
from zoneinfo import ZoneInfo

from budget_middleware.cli.binding import BindingLimits, read_limits
from budget_middleware.cli.choosing import choose, percent
from budget_middleware.cli.desk import Desk, on_state
from budget_middleware.cli.output import Row, Table, iso, link, say, say_json, say_rows, usd
from budget_middleware.cli.parsing import account, add_command, add_trace_url, positive
from budget_middleware.core.limits import PERIODS
from budget_middleware.core.model import Balance, Counter, CounterView, Entry, Reservation
from budget_middleware.core.windows import Period, window_at, window_named
from budget_middleware.telemetry.traceparent import trace_ids

SHOWN_ON_A_TERMINAL = 50

_ORDER = {period: index for index, period in enumerate(PERIODS)}

Tell = Callable[[Iterable[Entry]], None]

PAGE = 1_000
FOLLOW_EVERY_S = 0.5

_READ_AT_2_AM = (
    "seq",
    "time",
    "status",
    "account",
    "window",
    "spent_delta_usd",
    "reserved_delta_usd",
    "spent_usd",
    "reserved_usd",
    "reservation_id",
    "reason",
)


def add_to(commands: Any) -> None:
    status = add_command(
        commands,
        "status",
        on_state(_status),
        says="Show counters: what is spent, reserved and still available.",
        more="The limit is the one that binds now: a runtime limit, else BUDGET_LIMITS. Limits from"
        " limits_source are known only to the gateway's code and are not shown.",
    )
    status.add_argument("account", metavar="ACCOUNT", nargs="?", type=account, help="only this account")
    status.add_argument("--all", action="store_true", help="past windows too")
    status.add_argument("--top", type=positive, metavar="N", help="the N that have spent most")
    status.add_argument("--match", metavar="TEXT", help="accounts with this text, or like this pattern with * and ?")
    status.add_argument("--over", type=percent, metavar="PERCENT", help="80%%: of which so much is spent or reserved")
    add_command(commands, "holds", on_state(_holds), says="Show pending reservations, the oldest first.")
    journal = add_command(
        commands,
        "journal",
        on_state(_journal),
        says="Show counter changes, the oldest first; with --json one object a line.",
    )
    journal.add_argument("account", metavar="ACCOUNT", nargs="?", type=account, help="only this account")
    journal.add_argument("--follow", action="store_true", help="go on with new entries until interrupted")
    journal.add_argument("--limit", type=positive, default=50, metavar="N", help="the last N (default 50)")
    add_trace_url(journal, "print each entry's link")


# Status.


async def _status(desk: Desk, arguments: Namespace) -> int:
    views, limits = await _views_shown(desk, arguments.account, past=arguments.all)
    chosen = choose(views, limits.limit_nanos, match=arguments.match, over_percent=arguments.over, top=arguments.top)
    shown = chosen[:SHOWN_ON_A_TERMINAL] if sys.stdout.isatty() and not arguments.json and not arguments.top else chosen
    rows = [_status_row(view, limits, desk.settings.timezone) for view in shown]
    say_rows(rows, as_json=arguments.json, if_none="no counters")
    if len(shown) < len(chosen):
        say(f"{len(chosen) - len(shown):,} more: choose with --top, --match or --over, or pipe it")
    return 0


async def counters_shown(desk: Desk, account: str | None, *, past: bool) -> list[tuple[CounterView, Row]]:
    """The counters (of one account), also those that only a limit names, each with what `status` says of it."""
    shown, limits = await _views_shown(desk, account, past=past)
    return [(view, _status_row(view, limits, desk.settings.timezone)) for view in shown]


async def _views_shown(desk: Desk, account: str | None, *, past: bool) -> tuple[list[CounterView], BindingLimits]:
    now_ms = (await desk.store.head()).now_ms
    limits = await read_limits(desk)
    current = {period: window_at(period, time_ms=now_ms, timezone=desk.settings.timezone).id for period in PERIODS}
    views = {view.counter: view for view in await desk.store.counters(account)}
    shown = [view for view in views.values() if past or _is_current(view.counter, current)]
    named = limits.exact_accounts if account is None else {account}
    shown += [
        CounterView(counter, Balance()) for counter in _limited_counters(named, limits, current) if counter not in views
    ]
    return sorted(shown, key=_reading_order), limits


def _is_current(counter: Counter, current: dict[Period, str]) -> bool:
    return current[counter.period] == counter.window


def _limited_counters(accounts: Iterable[str], limits: BindingLimits, current: dict[Period, str]) -> Iterator[Counter]:
    """The counters that a limit names, whether or not anything was booked on them yet."""
    for name in accounts:
        for period in limits.limited_periods(name):
            yield Counter(name, period, current[period])


def _reading_order(view: CounterView) -> tuple[str, int, str]:
    return view.counter.account, _ORDER[view.counter.period], view.counter.window


def _status_row(view: CounterView, limits: BindingLimits, timezone: ZoneInfo) -> Row:
    counter, balance = view.counter, view.balance
    limit_nanos = limits.limit_nanos(counter.account, counter.period)
    taken_nanos = balance.spent + balance.reserved
    return {
        "account": counter.account,
        "period": counter.period,
        "window": counter.window,
        "limit_usd": usd(limit_nanos),
        "spent_usd": usd(balance.spent),
        "reserved_usd": usd(balance.reserved),
        "available_usd": None if limit_nanos is None else usd(limit_nanos - taken_nanos),
        "resets_at": _resets_at(counter.period, counter.window, timezone),
    }


@lru_cache(1_024)
def _resets_at(period: Period, window_id: str, timezone: ZoneInfo) -> str | None:
    if period is Period.TOTAL:
        return None
    try:
        window = window_named(period, window_id, timezone=timezone)
    except ValueError:
        return None  # A window of another BUDGET_TIMEZONE, from before it was changed.
    return iso(window.ends_ms, timezone, timespec="seconds")


# Holds.


async def _holds(desk: Desk, arguments: Namespace) -> int:
    held = await desk.store.holds()
    now_ms = (await desk.store.head()).now_ms
    say_rows([hold_row(hold, now_ms) for hold in held], as_json=arguments.json, if_none="nothing is held")
    return 0


def hold_row(hold: Reservation, now_ms: int) -> Row:
    return {
        "id": hold.id,
        "accounts": list(dict.fromkeys(target.account for target in hold.targets)),
        "amount_usd": usd(hold.held.usd),
        "age_s": (now_ms - hold.created_ms) / 1000,
        "expires_in_s": (hold.deadline_ms - now_ms) / 1000,
        "trace_id": trace_ids(hold.trace)[0] or None,
    }


# Journal.


async def _journal(desk: Desk, arguments: Namespace) -> int:
    after_seq = (await desk.store.head()).seq
    entries = await desk.store.latest(count=arguments.limit, account=arguments.account)
    template = arguments.trace_url or desk.settings.trace_url
    tell: Tell = partial(_tell_lines, template) if arguments.json else _TellTable(template)
    tell(entries)
    if entries:
        after_seq = max(after_seq, entries[-1].seq)
    if arguments.follow:
        await _follow(desk, tell, account=arguments.account, after_seq=after_seq)
    return 0


async def _follow(desk: Desk, tell: Tell, *, account: str | None, after_seq: int) -> NoReturn:
    task = asyncio.current_task()
    assert task is not None, "a coroutine runs in a task"
    while not task.cancelling():
        sys.stdout.flush()
        page = await desk.store.journal(after_seq=after_seq, count=PAGE)
        if page:
            after_seq = page[-1].seq
            tell([entry for entry in page if account in (None, entry.counter.account)])
        else:
            await asyncio.sleep(FOLLOW_EVERY_S)
            # A store that was emptied counts from 1 again.
            after_seq = min(after_seq, (await desk.store.head()).seq)
    # Python 3.11 may lose a Ctrl-C that comes just before a time-out of 0, such as redis-py sets.
    raise asyncio.CancelledError


def _tell_lines(template: str | None, entries: Iterable[Entry]) -> None:
    for entry in entries:
        say_json({**entry_row(entry), **link(entry.trace, template)})


class _TellTable:
    def __init__(self, template: str | None) -> None:
        self._table = Table()
        self._template = template

    def __call__(self, entries: Iterable[Entry]) -> None:
        rows = [self._row(entry) for entry in entries]
        if rows:
            self._table.say(rows)

    def _row(self, entry: Entry) -> Row:
        row = entry_row(entry)
        return {**{name: row[name] for name in _READ_AT_2_AM}, **link(entry.trace, self._template)}


def entry_row(entry: Entry) -> Row:
    trace_id, span_id = trace_ids(entry.trace)
    return {
        "seq": entry.seq,
        "time": iso(entry.time_ms),
        "op": entry.op,
        "reservation_id": entry.reservation_id,
        "account": entry.counter.account,
        "period": entry.counter.period,
        "window": entry.counter.window,
        "spent_delta_usd": usd(entry.spent_delta),
        "reserved_delta_usd": usd(entry.reserved_delta),
        "spent_usd": usd(entry.spent),
        "reserved_usd": usd(entry.reserved),
        "status": entry.status,
        "trace_id": trace_id or None,
        "span_id": span_id or None,
        "reason": entry.reason,
    }
