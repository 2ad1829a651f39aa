"""The demo's course: start, watch, tell, audit."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from itertools import cycle

from rich.console import Console
from rich.live import Live

from budget_middleware.core.audit import Audit, Report
from budget_middleware.core.limits import LimitBook, parse_limits
from budget_middleware.core.model import Entry
from budget_middleware.demo.callers import ACCOUNTS, LIMITS, Tally, call_for
from budget_middleware.demo.screen import counters_table, stories
from budget_middleware.demo.servers import Servers, running
from budget_middleware.stores.base import Retention, Store
from budget_middleware.stores.opening import MEMORY_URL

INTERRUPTED = 130

_REDRAW_S = 0.2
_LINES_EVERY_S = 3.0
_PLAIN_WIDTH = 110
_PAGE = 1_000
_SETTLE_S = 10


def run_demo(*, plain: bool, seconds: float) -> int:
    """Show a guarded gateway under traffic for some seconds; the exit code is 1 if the audit finds drift.

    A live table in a terminal, the same table every few seconds elsewhere or with `plain`. All it starts it
    also ends, on Ctrl-C and SIGTERM too.
    """
    console = Console(highlight=False)
    if plain or not console.is_terminal:
        console = Console(highlight=False, color_system=None, width=_PLAIN_WIDTH, force_terminal=False)
    try:
        return asyncio.run(_play(console, seconds))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return INTERRUPTED


async def _play(console: Console, seconds: float) -> int:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    console.print("Starting a provider and a gateway in front of it ...")
    with running(limits=LIMITS, accounts=ACCOUNTS) as servers:
        try:
            console.print(_introduction(servers, seconds))
            tally = Tally()
            await _watch(console, servers, tally, seconds)
            entries = [entry async for page in _journal(servers.store) for entry in page]
            for story in stories(entries, tally.reservation_ids):
                console.print(story)
            report = await _audited(servers.store)
        finally:
            await servers.store.aclose()
    console.print(_verdict(report, entries))
    return 1 if report.drift else 0
