"""`shadow`: what limits that only watch would have refused, to be looked at before they are enforced."""

from argparse import Namespace
from typing import Any

from budget_middleware.cli.output import Row, Table, bars, columns, print_error, print_json, print_line
from budget_middleware.cli.parsing import add_command, days
from budget_middleware.cli.running import on_state
from budget_middleware.operations.context import OperatorContext
from budget_middleware.operations.shadow_report import ShadowRow, report_shadow
from budget_middleware.operations.wording import counted

_COLUMNS = ("account", "period", "mode", "limit", "requests", "estimates", "enough", "first_at", "last_at")


def add_to(commands: Any) -> None:
    shadow = add_command(
        commands,
        "shadow",
        on_state(_shadow),
        says="Show what shadow limits, and all limits under BUDGET_MODE=shadow, would have refused.",
        more="`enough` is the smallest limit that would have refused nothing. Gateways report once a second.",
    )
    shadow.add_argument(
        "--since", type=days, default=7, metavar="DAYS", help="so many days of UTC, today included (default 7d)"
    )


async def _shadow(context: OperatorContext, arguments: Namespace) -> int:
    report = await report_shadow(context, days=arguments.since)
    if arguments.json:
        print_json(report)
        return 0
    if report.limits:
        Table().write([_shown(row) for row in report.limits])
    requests = sum(row.requests for row in report.limits)
    print_line(
        f"{report.since} to {report.until} (UTC): {counted(len(report.limits), 'limit')} would have refused"
        f" {counted(requests, 'request')}"
        if report.limits
        else f"{report.since} to {report.until} (UTC): nothing would have been refused"
    )
    if report.left_out:
        print_error(f"warning: {counted(report.left_out, 'request')} more, by limits for which a day had no room")
    return 0


def _shown(row: ShadowRow) -> Row:
    return {**columns(row, _COLUMNS), "by_day": bars(list(row.by_day.values()))}
