"""`explain`: how a number came about, or what became of a request, from the journal, holds and refusals."""

from argparse import Namespace
from typing import Any

from budget_middleware.cli.account_story import print_account
from budget_middleware.cli.output import print_error, print_json, print_line, warn
from budget_middleware.cli.parsing import add_command, add_trace_url, positive, subject
from budget_middleware.cli.reservation_story import print_reservation
from budget_middleware.cli.running import on_state
from budget_middleware.operations.account_explanation import explain_account
from budget_middleware.operations.accounts import warnings_for
from budget_middleware.operations.context import OperatorContext
from budget_middleware.operations.inputs import is_reservation_id
from budget_middleware.operations.reservation_explanation import explain_reservation


def add_to(commands: Any) -> None:
    explain = add_command(
        commands,
        "explain",
        on_state(_explain),
        says="Explain how an account's counters came to their figures, or what happened to one reservation.",
        more="It reads the journal, the history if there is one, the pending reservations and the log of refusals.",
    )
    explain.add_argument(
        "subject",
        metavar="ACCOUNT|RESERVATION_ID",
        type=subject,
        help="such as team:search or key:1f3a9c0b2d4e5f60, or the id in an answer's x-budget-reservation-id",
    )
    explain.add_argument("--all", action="store_true", help="past windows too, not only the current ones")
    explain.add_argument(
        "--limit", type=positive, default=10, metavar="N", help="the N biggest of each kind (default 10)"
    )
    add_trace_url(explain, "print a link in each line")


async def _explain(context: OperatorContext, arguments: Namespace) -> int:
    template = arguments.trace_url or context.settings.trace_url
    if is_reservation_id(arguments.subject):
        return await _explain_reservation(context, arguments, template)
    return await _explain_account(context, arguments, template)


async def _explain_reservation(context: OperatorContext, arguments: Namespace, template: str | None) -> int:
    explanation = await explain_reservation(context, arguments.subject, trace_url=template)
    if explanation is None:
        print_error(
            "not explained: no journal entry, hold or refusal has that id; BUDGET_JOURNAL_MAX says how many"
            " entries are kept"
        )
        return 1
    if arguments.json:
        print_json(explanation)
    else:
        print_reservation(explanation)
        _print_source(context)
    return 0


async def _explain_account(context: OperatorContext, arguments: Namespace, template: str | None) -> int:
    explanation = await explain_account(
        context, arguments.subject, include_past=arguments.all, at_most=arguments.limit, trace_url=template
    )
    if explanation is None:
        warn(await warnings_for(arguments.subject, context))
        print_error(
            "not explained: that account has no counter, limit, hold or refusal; `status --all` lists the counters"
        )
        return 1
    if arguments.json:
        print_json(explanation)
    else:
        print_account(explanation)
        _print_source(context)
    return 0


def _print_source(context: OperatorContext) -> None:
    if context.settings.history_url:
        print_line("")
        print_line("from the history, and from the journal what that has not yet")
