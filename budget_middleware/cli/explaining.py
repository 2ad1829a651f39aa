"""`explain`: how a number came about, or what became of a request, from the journal, holds and refusals."""

from argparse import Namespace
from typing import Any

from budget_middleware.cli.account_story import tell_account
from budget_middleware.cli.desk import Desk, on_state
from budget_middleware.cli.output import complain
from budget_middleware.cli.parsing import add_command, add_trace_url, is_reservation_id, positive, subject
from budget_middleware.cli.reservation_story import tell_reservation


def add_to(commands: Any) -> None:
    explain = add_command(
        commands,
        "explain",
        on_state(_explain),
        says="Tell how an account's counters came to their figures, or what became of one reservation.",
        more="It reads the journal, the pending reservations and the log of refusals.",
    )
    explain.add_argument("subject", metavar="ACCOUNT|RESERVATION_ID", type=subject)
    explain.add_argument("--all", action="store_true", help="past windows too")
    explain.add_argument(
        "--limit", type=positive, default=10, metavar="N", help="the N biggest of each kind (default 10)"
    )
    add_trace_url(explain, "print a link in each line")


async def _explain(desk: Desk, arguments: Namespace) -> int:
    template = arguments.trace_url or desk.settings.trace_url
    if is_reservation_id(arguments.subject):
        is_known = await tell_reservation(desk, arguments.subject, template=template, as_json=arguments.json)
        unknown = (
            "no journal entry, hold or refusal of that id is known; BUDGET_JOURNAL_MAX says how many entries are kept"
        )
    else:
        is_known = await tell_account(
            desk,
            arguments.subject,
            past=arguments.all,
            at_most=arguments.limit,
            template=template,
            as_json=arguments.json,
        )
        unknown = "that account has no counter, limit, hold or refusal; `status --all` lists the counters"
    if not is_known:
        complain(f"not explained: {unknown}")
    return 0 if is_known else 1
