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

_ACCOUNT = "such as team:search or key:1f3a9c0b2d4e5f60"


def add_to(commands: Any) -> None:
    _add_adjust(commands)
    _add_transfer(commands)
    _add_release(commands)


def _add_adjust(commands: Any) -> None:
    command = add_command(
        commands,
        "adjust",
        on_state(_adjust),
        says="Add an amount to what an account has spent; a negative amount is a credit.",
        more="It is booked in the current window of each period for which the account has a limit or a counter.",
    )
    add_new(command)
    command.add_argument(
        "--yes",
        action="store_true",
        help="even if the amount is larger than any limit of the account and all that it has spent",
    )
    command.add_argument("account", metavar="ACCOUNT", type=account, help=_ACCOUNT)
    command.add_argument("amount", metavar="USD", type=amount, help="such as 0.25 or -5")
    command.add_argument("--reason", metavar="TEXT", type=reason, required=True, help="kept in the journal")
    command.add_argument(
        "--window",
        metavar="PERIOD[:ID]",
        help="book it in this window alone, such as month:2026-11, or month for the current one",
    )


def _add_transfer(commands: Any) -> None:
    command = add_command(
        commands,
        "transfer",
        on_state(_transfer),
        says="Move budget from one account to another, if the first has so much available.",
        more="In one atomic step FROM has spent that amount more, and TO that amount less.",
    )
    add_new(command)
    command.add_argument("source", metavar="FROM", type=account, help=f"the account that gives, {_ACCOUNT}")
    command.add_argument("destination", metavar="TO", type=account, help="the account that gets")
    command.add_argument(
        "amount", metavar="AMOUNT", type=figure, help="in USD, such as 25, or 200000tokens, 60requests"
    )
    command.add_argument("--reason", metavar="TEXT", type=reason, required=True, help="kept in the journal")
    command.add_argument(
        "--period",
        metavar="PERIOD",
        help="whose budget to move, such as month; needed if both have limits of several periods",
    )
    command.add_argument("--window", metavar="ID", help="such as 2026-11 (default: the current window)")


def _add_release(commands: Any) -> None:
    command = add_command(
        commands,
        "release",
        on_state(_release),
        says="Release a pending reservation now and charge nothing.",
        more="Its request goes on; if that still books a cost, it is booked in full.",
    )
    command.add_argument("id", metavar="ID", help="the id that `holds` shows")
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
