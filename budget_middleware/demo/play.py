"""The demo's course: start the servers, watch the counters, show one request, audit."""

import asyncio
import json
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import cycle
from pathlib import Path

from rich.console import Console, RenderableType
from rich.live import Live

from budget_middleware.core.answers import Entry
from budget_middleware.core.journal.audit import Audit, Report
from budget_middleware.core.limits.grammar import parse_limits
from budget_middleware.demo.callers import ACCOUNTS, OVERSPENDER, Outcome, Tally, call_for, limits_for
from budget_middleware.demo.screen import counters_table, stories
from budget_middleware.demo.servers import ADMIN_PATH, Servers, running
from budget_middleware.operations.binding import BindingLimits
from budget_middleware.stores.base import Store
from budget_middleware.stores.retention import Retention

INTERRUPTED = 130

_PLAIN_WIDTH = 110
_WIDTH_WITH_BARS = 96
_LIVE_EVERY_S = 0.2
_PLAIN_EVERY_S = 3.0
_SETTLE_S = 10.0
_PAGE = 1_000


def run_demo(*, plain: bool, as_json: bool, seconds: float) -> int:
    """Show a guarded gateway under traffic for so many seconds; 1 if the audit then finds drift, else 0.

    A live table in a terminal; elsewhere, and with `plain`, the same table every few seconds; `as_json` only how it
    ended. All processes that it starts it also ends, on Ctrl-C and SIGTERM too (130).
    """
    console = Console(highlight=False, quiet=as_json)
    if plain or as_json or not console.is_terminal:
        console = Console(highlight=False, quiet=as_json, color_system=None, force_terminal=False, width=_PLAIN_WIDTH)
    try:
        tally, report, entries = asyncio.run(_play(console, seconds))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return INTERRUPTED
    if as_json:
        requests = {outcome: tally.outcomes[outcome] for outcome in Outcome}
        sys.stdout.write(json.dumps({"requests": requests, "audit": _audit_row(report, entries)}) + "\n")
    return 1 if report.drift else 0


async def _play(console: Console, seconds: float) -> tuple[Tally, Report, list[Entry]]:
    play = asyncio.current_task()
    assert play is not None, "asyncio.run has made it"
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, play.cancel)
    console.print("Starting a provider and gateways ...")
    tally = Tally()
    limits = limits_for(seconds)
    with running(limits=limits, accounts=ACCOUNTS) as servers:
        try:
            console.print(_introduction(servers), soft_wrap=True)
            await _watch(console, servers, tally, seconds, limits=limits)
            report, entries = await _audited(servers.store)
        finally:
            await servers.store.aclose()
    for story in stories(entries, tally.reservation_ids):
        console.print(story)
    console.print(_verdict(report, entries))
    console.print(_afterwards(), soft_wrap=True)
    return tally, report, entries


def _program() -> str:
    """What to type for this program in a shell of the same folder."""
    program = Path(sys.argv[0])
    if program.name != "budget-middleware":
        return "python -m budget_middleware"
    if shutil.which(program.name) == str(program):
        return program.name
    return str(program.relative_to(Path.cwd()) if program.is_relative_to(Path.cwd()) else program)


def _introduction(servers: Servers) -> str:
    """Where to look meanwhile, and three things to try."""
    program = _program()
    account = OVERSPENDER.account
    tries = {
        f"{program} holds": "which requests hold money at this moment",
        f"{program} explain {account}": f"why {OVERSPENDER.name} is refused",
        f"{program} limit set {account} 1/day": f"{OVERSPENDER.name} is served again, at once",
    }
    width = max(map(len, tries))
    lines = [f"  {command:<{width}}  # {what}" for command, what in tries.items()]
    return "\n".join(
        [
            "Two gateways share the counters in a file. Three things to try meanwhile, in another terminal:",
            f"  set -a; . {servers.settings_file}; set +a",
            *lines,
            _dashboard(servers),
        ]
    )


def _dashboard(servers: Servers) -> str:
    if not servers.admin_token:
        return "With the extra [admin] there is a dashboard, too."
    return f"The dashboard: {servers.gateways[0]}{ADMIN_PATH}/ and its token: {servers.admin_token}"


def _afterwards() -> str:
    program = _program()
    return (
        f"\nThat was too quick? {program} demo --seconds 600\n"
        f"For your own gateway, {program} init writes the settings, and one line guards it:"
        " app.add_middleware(BudgetMiddleware)"
    )


async def _watch(console: Console, servers: Servers, tally: Tally, seconds: float, *, limits: str) -> None:
    """Send the traffic and show the counters meanwhile, to the end of the last request."""
    configured = parse_limits(limits)
    has_bars = console.is_terminal and console.width >= _WIDTH_WITH_BARS
    until = time.monotonic() + seconds + _SETTLE_S
    async with asyncio.TaskGroup() as tasks:
        traffic = tasks.create_task(call_for(seconds, cycle(servers.gateways), tally))
        with _picture(console) as show:
            while True:
                views = await servers.store.counters()
                # Whoever watches may have set one at run time.
                binding = BindingLimits(runtime=await servers.store.limits(), environment=configured)
                show(counters_table(views, binding, tally, has_bars=has_bars))
                is_idle = traffic.done() and not any(view.balance.reserved for view in views)
                if is_idle or time.monotonic() > until:
                    break
                await asyncio.sleep(_LIVE_EVERY_S if console.is_terminal else _PLAIN_EVERY_S)


@contextmanager
def _picture(console: Console) -> Iterator[Callable[[RenderableType], None]]:
    """A way to show something in place of what was shown before; below it where that cannot be."""
    if not console.is_terminal:
        yield console.print
        return
    with Live(console=console, auto_refresh=False) as live:
        yield partial(live.update, refresh=True)


async def _audited(store: Store) -> tuple[Report, list[Entry]]:
    """As `budget-middleware audit` does it; the whole journal of a demo fits into memory."""
    head, entries = await store.head(), list[Entry]()
    audit = Audit(
        await store.proofs(),
        head_seq=head.seq,
        now_ms=head.now_ms,
        forgotten_after_ms=Retention().counter_ms,
    )
    while page := await store.journal(after_seq=entries[-1].seq if entries else 0, count=_PAGE):
        entries += page
    audit.add(entries)
    return audit.report(), entries


def _audit_row(report: Report, entries: list[Entry]) -> dict[str, object]:
    return {
        "counters": len({entry.counter for entry in entries}),
        "reservations": len({entry.reservation_id for entry in entries}),
        "journal_entries": len(entries),
        "drift": [str(drift) for drift in report.drift],
    }


def _verdict(report: Report, entries: list[Entry]) -> str:
    row = _audit_row(report, entries)
    figures = "audit: {counters} counters, {reservations} reservations, {journal_entries} journal entries: ".format(
        **row
    )
    if not report.drift:
        return f"{figures}no drift, every counter adds up to the nano-dollar."
    return "\n".join([f"{figures}DRIFT", *(f"  {drift}" for drift in report.drift)])
