"""`history` and `restore`: what a history has, and how a store that was lost gets it back."""

import asyncio
from argparse import Namespace
from typing import Any

from budget_middleware.cli.output import print_error, print_json, print_line, print_rows, warn
from budget_middleware.cli.parsing import add_command
from budget_middleware.cli.progress import Progress
from budget_middleware.cli.running import on_state
from budget_middleware.operations.context import OperatorContext
from budget_middleware.operations.history_state import copy_history, follow_history, history_report
from budget_middleware.operations.restores import restore
from budget_middleware.operations.wording import counted


def add_to(commands: Any) -> None:
    history = add_command(
        commands,
        "history",
        on_state(_history),
        says="Show how far the journal is copied to the history and what is missing there, or copy it now.",
        more="Gateways with BUDGET_HISTORY_URL copy it by themselves.",
    )
    history.add_argument("--copy", action="store_true", help="copy what is missing, unless a gateway is doing so")
    history.add_argument("--follow", action="store_true", help="keep copying, as gateways do, until interrupted")
    command = add_command(
        commands,
        "restore",
        on_state(_restore, makes_file=True),
        says="Book again, from the history, what a lost store had booked, and set its limits again.",
        more="It may be interrupted and run again: nothing is booked twice.",
    )
    command.add_argument("--dry-run", action="store_true", help="only show what it would book")
    command.add_argument(
        "--live", action="store_true", help="even if the store has counters, because gateways have booked there since"
    )
    command.add_argument(
        "--generation",
        metavar="ID",
        help="the lost store, by the generation that `history` shows (default: the one before this)",
    )


async def _history(context: OperatorContext, arguments: Namespace) -> int:
    if arguments.follow:
        await follow_history(context)
    if arguments.copy:
        copied = await copy_history(context)
        print_error(f"{copied:,} entries copied")
    report = await asyncio.to_thread(history_report, context)
    if arguments.json:
        print_json(report)
    else:
        print_rows(report.generations, in_json=False, if_none=f"nothing of {report.namespace} was copied yet")
        print_rows(report.gaps, in_json=False, if_none="no gaps")
    return 0


async def _restore(context: OperatorContext, arguments: Namespace) -> int:
    done = await restore(
        context,
        generation=arguments.generation,
        is_live=arguments.live,
        is_dry_run=arguments.dry_run,
        on_progress=Progress("bookings restored"),
    )
    warn(done.warnings)
    if arguments.json:
        print_json(done)
        return 0
    print_rows(done.counters, in_json=False, if_none="no counter of it lacks anything")
    would = "would be " if arguments.dry_run else ""
    print_line(
        f"{counted(len(done.counters), 'counter')} {would}restored as of {done.until} (generation {done.generation}):"
        f" {done.endings} endings by their ids, the rest as adjustments; {done.limits} limits"
    )
    return 0
