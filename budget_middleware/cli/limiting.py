"""`limit`: runtime limits, which operators set while gateways run."""

from argparse import Namespace
from collections.abc import Sequence
from typing import Any

from budget_middleware.cli.output import Row, print_error, print_line, print_rows, warn
from budget_middleware.cli.parsing import CommandError, add_command, add_new, pattern
from budget_middleware.cli.running import on_state
from budget_middleware.core.limit_grammar import ACCEPTED_LIMITS, parse_amounts
from budget_middleware.core.windows import PERIODS, Period
from budget_middleware.operations.context import OperatorContext
from budget_middleware.operations.limit_rows import LimitRow
from budget_middleware.operations.limits import clear_limits, clear_raw_key_limits, list_limits, set_limits


def add_to(commands: Any) -> None:
    says = "Set, clear and list runtime limits, which go before BUDGET_LIMITS."
    limit = commands.add_parser(
        "limit", help=says, description=f"{says} They bind on every worker at its next reserve."
    )
    verbs = limit.add_subparsers(metavar="COMMAND", required=True)
    accounts = "such as key:1f3a9c0b2d4e5f60, key, team:research or key+model:*+gpt-4o"
    setting = add_command(
        verbs, "set", on_state(_limit_set), says="Limit an account, or all accounts that a pattern matches."
    )
    setting.add_argument("account", metavar="ACCOUNT", type=pattern, help=accounts)
    setting.add_argument(
        "amounts",
        metavar="AMOUNT/PERIOD",
        nargs="+",
        help=f"{ACCEPTED_LIMITS}; none alone lifts every limit",
    )
    add_new(setting)
    clear = add_command(verbs, "clear", on_state(_limit_clear), says="Remove runtime limits of an account.")
    clear.add_argument("account", metavar="ACCOUNT", nargs="?", type=pattern, help=accounts)
    clear.add_argument("period", metavar="PERIOD", nargs="?", choices=PERIODS, help="only this one")
    clear.add_argument(
        "--raw-keys",
        action="store_true",
        help="instead of ACCOUNT: all limits on keys that are no hash, which version 0.1.0 accepted",
    )
    add_command(verbs, "list", on_state(_limit_list), says="Show the runtime limits.")


async def _limit_set(context: OperatorContext, arguments: Namespace) -> int:
    try:
        amounts = parse_amounts(";".join(arguments.amounts))
    except ValueError as error:
        raise CommandError(str(error)) from None
    if not amounts:
        raise CommandError(f"no amount is named; accepted are {ACCEPTED_LIMITS}")
    change = await set_limits(context, arguments.account, amounts, is_new=arguments.new)
    warn(change.warnings)
    _print_limits(change.binding, arguments, if_none=f"nothing limits {arguments.account}")
    return 0


async def _limit_clear(context: OperatorContext, arguments: Namespace) -> int:
    if arguments.raw_keys:
        print_line(f"{await clear_raw_key_limits(context)} limits on keys that are no hash were cleared")
        return 0
    if arguments.account is None:
        raise CommandError("limit clear: no ACCOUNT is named")
    period = Period(arguments.period) if arguments.period else None
    change = await clear_limits(context, arguments.account, period)
    if not change.is_done:
        print_error(f"not cleared: {arguments.account} has no runtime limit{f' a {period}' if period else ''}")
        return 1
    _print_limits(change.binding, arguments, if_none=f"nothing limits {arguments.account}")
    return 0


async def _limit_list(context: OperatorContext, arguments: Namespace) -> int:
    _print_limits(await list_limits(context), arguments, if_none="no runtime limits")
    return 0


def _print_limits(rows: Sequence[LimitRow], arguments: Namespace, *, if_none: str) -> None:
    shown = rows if arguments.json else list(map(_table_row, rows))
    print_rows(shown, in_json=arguments.json, if_none=if_none)


def _table_row(row: LimitRow) -> Row:
    pattern = {"pattern": row.pattern} if isinstance(row.pattern, str) else {}
    return {"account": row.account, "limit": row.text, "layer": row.layer, **pattern}
