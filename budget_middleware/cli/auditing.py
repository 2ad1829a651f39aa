"""`audit`: checks every counter against its journal and reservations; with --repair it books the differences."""

from argparse import Namespace
from collections.abc import Iterator, Sequence
from typing import Any

from budget_middleware.cli.output import print_error, print_json, print_line, print_rows
from budget_middleware.cli.parsing import CommandError, add_command
from budget_middleware.cli.progress import Progress
from budget_middleware.cli.running import on_state
from budget_middleware.operations.audits import AuditReport, audit
from budget_middleware.operations.context import OperatorContext
from budget_middleware.operations.values import OMITTED
from budget_middleware.operations.wording import counted


def add_to(commands: Any) -> None:
    command = add_command(
        commands,
        "audit",
        on_state(_audit),
        says="Check every counter against its journal and its reservations; exit 1 if one differs.",
    )
    command.add_argument(
        "--repair", action="store_true", help="correct the counters by entries in the journal, then audit again"
    )
    command.add_argument(
        "--history",
        action="store_true",
        help="add up the history too, for counters whose oldest entries the journal has dropped",
    )


async def _audit(context: OperatorContext, arguments: Namespace) -> int:
    if arguments.history and not context.settings.history_url:
        raise CommandError("--history needs BUDGET_HISTORY_URL, the history that gateways write")
    progress = Progress("entries are read")
    report = await audit(context, repairs=arguments.repair, with_history=arguments.history, on_read=progress)
    for line in report.not_repaired:
        print_error(f"not repaired: {line}")
    if arguments.json:
        print_json(report)
    else:
        _print(report)
    return 0 if report.is_clean else 1


def _print(report: AuditReport) -> None:
    for done in (report.repaired, report.mended):
        if done is not OMITTED:
            _print_some(done)
    print_line(
        f"{counted(report.counters, 'counter')}, {counted(report.reservations, 'reservation')},"
        f" {report.unproved} unproved, {len(report.drift)} drift"
    )
    _print_some(report.drift)
    for line in _claims(report):
        print_line(line)
    _print_some(report.damage)


def _claims(report: AuditReport) -> Iterator[str]:
    """What the audit has proved, and from when on."""
    if report.drift:
        return
    counters = report.counters
    if report.proved_from_zero == counters:
        yield "every counter adds up"
        return
    if report.proved_from_zero:
        yield f"{report.proved_from_zero} of {counters} counters add up from zero"
    if report.proved_in_part and report.journal_since:
        yield (
            f"{report.proved_in_part} of {counters} counters add up from their oldest entry on; the journal begins at"
            f" {report.journal_since} (seq {report.journal_since_seq}), and what they showed before is taken as it was"
        )
    if report.unproved:
        yield (
            f"{report.unproved} of {counters} counters are unproved: the journal has no entry of theirs any more, so"
            " only what is pending on them was checked; BUDGET_JOURNAL_MAX says how many entries it keeps"
        )


def _print_some(rows: Sequence[object]) -> None:
    if rows:
        print_rows(rows, in_json=False, if_none="")
