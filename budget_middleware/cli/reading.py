"""`status`, `holds` and `journal`: what the store holds."""

import sys
from argparse import Namespace
from collections.abc import Callable, Iterable
from typing import Any

from budget_middleware.cli.output import Table, columns, print_json, print_line, print_rows
from budget_middleware.cli.parsing import account, add_command, add_trace_url, percent, positive
from budget_middleware.cli.running import on_state
from budget_middleware.operations.context import OperatorContext
from budget_middleware.operations.counters import list_counters
from budget_middleware.operations.holds import list_holds
from budget_middleware.operations.journal import follow_journal
from budget_middleware.operations.reaching_back import latest_entries_of_both
from budget_middleware.operations.rows import LinkedEntryRow

SHOWN_ON_A_TERMINAL = 50

# What stays on a terminal of ordinary width; --json has all.
_JOURNAL_COLUMNS = (
    "shard",
    "seq",
    "time",
    "status",
    "account",
    "window",
    "spent_delta",
    "reserved_delta",
    "spent",
    "reserved",
    "reservation_id",
    "reason",
    "trace_url",
)


def add_to(commands: Any) -> None:
    status = add_command(
        commands,
        "status",
        on_state(_status),
        says="Show counters: what is spent, reserved and still available.",
        more="The limit is the one that binds now: a runtime limit, or else one of BUDGET_LIMITS. Limits from"
        " limits_source are known only to the gateway's code and are not shown.",
    )
    _add_account(status)
    status.add_argument("--all", action="store_true", help="past windows too, not only the current ones")
    status.add_argument("--top", type=positive, metavar="N", help="only the N counters that have spent most")
    status.add_argument(
        "--match", metavar="TEXT", help="only accounts that contain this text, or match this pattern with * and ?"
    )
    status.add_argument(
        "--over",
        type=percent,
        metavar="PERCENT",
        help="only counters with so much of their limit spent or reserved, such as 80%%",
    )
    add_command(
        commands,
        "holds",
        on_state(_holds),
        says="Show pending reservations: which request holds how much. The oldest first.",
    )
    journal = add_command(
        commands,
        "journal",
        on_state(_journal),
        says="Show each change of a counter, the oldest first; with --json one object a line.",
    )
    _add_account(journal)
    journal.add_argument("--follow", action="store_true", help="keep printing new entries until interrupted")
    journal.add_argument("--limit", type=positive, default=50, metavar="N", help="the last N (default 50)")
    add_trace_url(journal, "print each entry's link")


def _add_account(command: Any) -> None:
    command.add_argument(
        "account",
        metavar="ACCOUNT",
        nargs="?",
        type=account,
        help="only this account, such as team:search or key:1f3a9c0b2d4e5f60",
    )


async def _status(context: OperatorContext, arguments: Namespace) -> int:
    rows = await list_counters(
        context,
        arguments.account,
        include_past=arguments.all,
        match=arguments.match,
        over_percent=arguments.over,
        top=arguments.top,
    )
    shown = rows[:SHOWN_ON_A_TERMINAL] if sys.stdout.isatty() and not arguments.json and not arguments.top else rows
    print_rows(shown, in_json=arguments.json, if_none="no counters")
    if len(shown) < len(rows):
        print_line(f"{len(rows) - len(shown):,} more: choose with --top, --match or --over, or pipe it")
    return 0


async def _holds(context: OperatorContext, arguments: Namespace) -> int:
    print_rows(await list_holds(context), in_json=arguments.json, if_none="nothing is held")
    return 0


async def _journal(context: OperatorContext, arguments: Namespace) -> int:
    template = arguments.trace_url or context.settings.trace_url
    print_entries = _print_lines if arguments.json else _table_writer()
    page = await latest_entries_of_both(context, arguments.account, count=arguments.limit, trace_url=template)
    if page.n_from_history and not arguments.json:
        print_line(f"the first {page.n_from_history:,} of these are from the history, the others from the journal")
    print_entries(page.entries)
    if arguments.follow:
        sys.stdout.flush()
        pages = follow_journal(context, arguments.account, positions=page.positions, trace_url=template)
        async for entries in pages:
            print_entries(entries)
            sys.stdout.flush()
    return 0


def _print_lines(entries: Iterable[LinkedEntryRow]) -> None:
    for entry in entries:
        print_json(entry)


def _table_writer() -> Callable[[Iterable[LinkedEntryRow]], None]:
    """Writes one table, portion by portion."""
    table = Table()

    def write(entries: Iterable[LinkedEntryRow]) -> None:
        if rows := [columns(entry, _JOURNAL_COLUMNS) for entry in entries]:
            table.write(rows)

    return write
