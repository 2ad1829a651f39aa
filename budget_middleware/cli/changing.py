"""`adjust`, `transfer` and `release`: the changes that an operator may make, and the figures after them."""

from argparse import Namespace
from typing import Any

from budget_middleware.cli.output import print_error, print_rows, warn
from budget_middleware.cli.parsing import account, add_command, add_new, amount, figure, reason
from budget_middleware.cli.running import on_state
from budget_middleware.operations.adjustments import adjust
from budget_middleware.operations.context import OperatorContext
from budget_middleware.operations.errors import UnknownFate
from budget_middleware.operations.holds import release_hold
from budget_middleware.operations.transfers import transfer


def add_to(commands: Any) -> None:
    _add_adjust(commands)
    _add_transfer(commands)
    _add_release(commands)


def _add_adjust(commands: Any) -> None:
    command = add_command(
        commands,
        "adjust",
        on_state(_adjust),
        says="Add an amount to what an account has spent; a negative one is a credit.",
        more="It is booked in the current window of every period that is limited or has a counter.",
    )
    add_new(command)
    command.add_argument(
        "--yes", action="store_true", help="even if the amount exceeds the limit and the spending of all its counters"
    )
    command.add_argument("account", metavar="ACCOUNT", type=account)
    command.add_argument("amount", metavar="USD", type=amount, help="such as 0.25 or -5")
    command.add_argument("--reason", metavar="TEXT", type=reason, required=True, help="kept in the journal")
    command.add_argument(
        "--window",
        metavar="PERIOD[:ID]",
        help="only this window, such as month:2026-11; without an id the current one",
    )


def _add_transfer(commands: Any) -> None:
    command = add_command(
        commands,
        "transfer",
        on_state(_transfer),
        says="Move budget from one account to another, if the first has so much available.",
        more="It counts as spent by the one and is taken from what the other has spent, in one atomic step.",
    )
    add_new(command)
    command.add_argument("source", metavar="FROM", type=account)
    command.add_argument("destination", metavar="TO", type=account)
    command.add_argument(
        "amount", metavar="AMOUNT", type=figure, help="in USD, such as 25, or 200000tokens, 60requests"
    )
    command.add_argument("--reason", metavar="TEXT", type=reason, required=True, help="kept in the journal")
    command.add_argument(
        "--period", metavar="PERIOD", help="of which limits, such as month; needed where both have several in common"
    )
    command.add_argument("--window", metavar="ID", help="this window, such as 2026-11, and not the current one")


def _add_release(commands: Any) -> None:
    command = add_command(
        commands,
        "release",
        on_state(_release),
        says="Release a pending reservation now and charge nothing.",
        more="If its owner still finalizes, that cost is booked late.",
    )
    command.add_argument("id", metavar="ID", help="as holds shows it")
    command.add_argument("--reason", metavar="TEXT", type=reason, required=True, help="kept in the journal")


async def _adjust(context: OperatorContext, arguments: Namespace) -> int:
    try:
        adjustment = await adjust(
            context,
            arguments.account,
            arguments.amount,
            reason=arguments.reason,
            window=arguments.window,
            is_new=arguments.new,
            is_large=arguments.yes,
        )
    except UnknownFate as error:
        raise UnknownFate(
            f"{error}; before you repeat it, look in `journal {arguments.account}` whether it was booked"
        ) from None
    warn(adjustment.warnings)
    print_rows(adjustment.changes, in_json=arguments.json, if_none="nothing changed")
    return 0


async def _transfer(context: OperatorContext, arguments: Namespace) -> int:
    source, destination = arguments.source, arguments.destination
    amount, unit = arguments.amount
    try:
        done = await transfer(
            context,
            source,
            destination,
            amount,
            unit=unit,
            reason=arguments.reason,
            period=arguments.period,
            window=arguments.window,
            is_new=arguments.new,
        )
    except UnknownFate as error:
        raise UnknownFate(f"{error}; before you repeat it, look in `journal {source}` whether it was booked") from None
    warn(done.warnings)
    if done.why_not:
        print_error(f"not transferred: {done.why_not}")
        return 1
    print_rows(done.changes, in_json=arguments.json, if_none="nothing changed")
    return 0


async def _release(context: OperatorContext, arguments: Namespace) -> int:
    released = await release_hold(context, arguments.id, reason=arguments.reason)
    if released.why_not:
        print_error(f"not released: {released.why_not}")
        return 1
    print_rows(released.changes, in_json=arguments.json, if_none="released; it held nothing")
    return 0
