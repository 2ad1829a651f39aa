"""`report`: requests, tokens, cost and refusals by accounts, models and time, as a table, CSV or lines of JSON."""

import sys
from argparse import Namespace
from collections.abc import Iterator
from typing import Any

from budget_middleware.cli.output import print_json, print_line, warn
from budget_middleware.cli.parsing import CommandError, add_command, dimensions, report_period
from budget_middleware.cli.progress import Progress
from budget_middleware.cli.report_table import print_table, write_csv
from budget_middleware.cli.running import on_state
from budget_middleware.operations.context import OperatorContext
from budget_middleware.operations.reports import Moments, Report, ReportQuery, make_report
from budget_middleware.operations.wording import counted


def add_to(commands: Any) -> None:
    report = add_command(
        commands,
        "report",
        # Its history says what it was, also while the store is away.
        on_state(_report, may_be_away=True),
        says="Report requests, tokens by class, cost and refusals, by accounts, models and time.",
        more="Each request counts once, in the window in which it was reserved, so sums agree with the counters. With"
        " --json one object a line, the total last.",
    )
    report.add_argument(
        "--by",
        type=dimensions,
        default=(),
        metavar="WHAT,…",
        help="one or more of model, provider and the kinds of accounts, such as team,model",
    )
    report.add_argument(
        "--per", type=report_period, metavar="PERIOD", help="hour, day, week, month or year, in BUDGET_TIMEZONE"
    )
    report.add_argument(
        "--since", metavar="TIME", help="2026-11, 2026-11-01, 2026-11-01T12:00 or 7d (default this month)"
    )
    report.add_argument("--until", metavar="TIME", help="likewise, with the month or day that is named (default now)")
    report.add_argument("--csv", action="store_true", help="write CSV with a header, for spreadsheets")


async def _report(context: OperatorContext, arguments: Namespace) -> int:
    if arguments.csv and arguments.json:
        raise CommandError("--csv and --json are two formats: choose one")
    query = ReportQuery(arguments.by, arguments.per, Moments(arguments.since, arguments.until))
    report = await make_report(context, query, Progress("bookings added up"))
    if arguments.json:
        for row in report.rows:
            print_json(row)
        print_json(report)
        return 0
    if arguments.csv:
        write_csv(sys.stdout, report, query)
    else:
        print_table(report)
        print_line(_span(report))
    warn(_warnings(report))
    return 0


def _span(report: Report) -> str:
    until = f"until {report.until}" if report.until else "until now"
    return f"since {report.since}, {until}; from the {report.source}"


def _warnings(report: Report) -> Iterator[str]:
    for kind in report.unknown if report.rows else ():
        yield f"nothing was booked on an account of kind {kind}"
    for each in report.missing:
        of = f"{each.count:,} {each.what}" if each.count else each.what
        since = f" after {each.since}" if each.since else ""
        until = f" before {each.until}" if each.until else ""
        yield f"{of} missing{since}{until}: {each.why}"
    if report.omitted_lines:
        yield (
            f"{counted(report.omitted_lines, 'line')} of long bills were not kept: their cost is counted, their tokens"
            " are not"
        )
