"""`alerts`: which alerts were sent, wait and failed; `alerts test` sends one to each receiver."""

from argparse import Namespace
from typing import Any

from budget_middleware.cli.output import print_error, print_json, print_line, print_rows
from budget_middleware.cli.parsing import account, add_command
from budget_middleware.cli.running import on_state
from budget_middleware.operations.alerts import AlertState, read_alerts, send_trial
from budget_middleware.operations.context import OperatorContext
from budget_middleware.operations.wording import counted


def add_to(commands: Any) -> None:
    command = add_command(
        commands,
        "alerts",
        on_state(_alerts, may_be_away=True),
        says="Show alerts: those that were sent, that wait to be sent, and that failed; `alerts test` sends one.",
        more="`alerts test` exits 1 if a receiver did not take it.",
    )
    command.add_argument(
        "what", nargs="?", choices=("list", "test"), default="list", help="list: show them (default); test: send one"
    )
    command.add_argument("--state", type=AlertState, choices=tuple(AlertState), help="only alerts in this state")
    command.add_argument("--account", type=account, help="only alerts about this account")


async def _alerts(context: OperatorContext, arguments: Namespace) -> int:
    return await (_test(context, arguments) if arguments.what == "test" else _list(context, arguments))


async def _list(context: OperatorContext, arguments: Namespace) -> int:
    report = await read_alerts(context, state=arguments.state, account=arguments.account)
    if arguments.json:
        print_json(report)
        return 0
    if report.alerts:
        for row in reversed(report.alerts):
            print_line(f"{row.time}  {row.rule}  {row.state}  {row.summary}")
            for delivery in row.deliveries:
                if delivery.why:
                    again = f", again at {delivery.next_at}" if delivery.next_at else ""
                    tried = counted(delivery.tries, "attempt")
                    print_line(f"    {delivery.receiver} {delivery.state} after {tried}{again}: {delivery.why}")
    else:
        print_line("no alerts")
    if report.followed_by is None:
        print_error("warning: no gateway follows the journal; alerts begin with one that has BUDGET_ALERTS")
    if report.left_out:
        print_error(
            f"warning: {counted(report.left_out, 'alert')} found no room in the queue, last {report.left_out_at}"
        )
    return 0


async def _test(context: OperatorContext, arguments: Namespace) -> int:
    rows = await send_trial(context)
    print_rows(rows, in_json=arguments.json, if_none="")
    return 0 if all(row.is_taken for row in rows) else 1
