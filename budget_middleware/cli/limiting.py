"""`limit`: runtime limits, which operators set while gateways run."""

from argparse import Namespace
from collections.abc import Sequence
from typing import Any

from budget_middleware.cli.output import Row, print_error, print_line, print_rows, warn
from budget_middleware.cli.parsing import CommandError, add_command, add_new, pattern
from budget_middleware.cli.running import on_state
from budget_middleware.core.limits.arguments import (
    ACCEPTED_CHOICES,
    ACCEPTED_TIMES,
    SlotChoice,
    every_slot,
    is_increase,
    parse_choice,
    parse_increases,
    parse_until,
)
from budget_middleware.core.limits.grammar import ACCEPTED_LIMITS, MODES_ACCEPTED, parse_amounts
from budget_middleware.operations.context import OperatorContext
from budget_middleware.operations.limit_rows import LimitRow
from budget_middleware.operations.limits import (
    LimitsChange,
    clear_limits,
    clear_raw_key_limits,
    list_limits,
    raise_limits,
    set_limits,
)
from budget_middleware.operations.values import OMITTED

_MODES = MODES_ACCEPTED.replace("%", "%%")
_ACCOUNTS = "such as key:1f3a9c0b2d4e5f60, key, team:research or key+model:*+gpt-4o"


def add_to(commands: Any) -> None:
    says = "Set, clear and list runtime limits, which go before BUDGET_LIMITS."
    limit = commands.add_parser(
        "limit", help=says, description=f"{says} They bind on every worker at its next request."
    )
    verbs = limit.add_subparsers(metavar="COMMAND", required=True)
    _add_set(verbs)
    clear = add_command(verbs, "clear", on_state(_limit_clear), says="Remove runtime limits of an account.")
    clear.add_argument("account", metavar="ACCOUNT", nargs="?", type=pattern, help=_ACCOUNTS)
    clear.add_argument("which", metavar="LIMIT", nargs="?", help=f"only this one: {ACCEPTED_CHOICES}")
    clear.add_argument(
        "--raw-keys",
        action="store_true",
        help="instead of ACCOUNT: all limits on keys that are no hash, which version 0.1.0 accepted",
    )
    add_command(verbs, "list", on_state(_limit_list), says="Show the runtime limits.")


def _add_set(verbs: Any) -> None:
    setting = add_command(
        verbs,
        "set",
        on_state(_limit_set),
        says="Limit an account, or all accounts that a pattern matches.",
        more=(
            "A limit takes the place of the one of its period, unit and mode, with all its terms; others stay. To"
            " enforce what was in shadow: limit set ACCOUNT 10/day, then limit clear ACCOUNT 10/day!shadow."
        ),
    )
    setting.add_argument("account", metavar="ACCOUNT", type=pattern, help=_ACCOUNTS)
    setting.add_argument(
        "limits",
        metavar="LIMIT",
        nargs="+",
        help=f"{ACCEPTED_LIMITS} ({_MODES}); none alone lifts every limit; with --until +AMOUNT/PERIOD",
    )
    setting.add_argument(
        "--until",
        nargs="+",
        metavar=("DATE", "HH:MM"),
        help=f"raise what binds now by +AMOUNT/PERIOD until then ({ACCEPTED_TIMES}); several increases add up",
    )
    add_new(setting)


async def _limit_set(context: OperatorContext, arguments: Namespace) -> int:
    text = ";".join(arguments.limits)
    are_increases = [is_increase(each) for each in arguments.limits]
    if arguments.until is None and any(are_increases):
        raise CommandError("limit set: an increase such as +50/month needs --until DATE")
    if arguments.until is not None and not all(are_increases):
        raise CommandError("limit set: --until goes with increases such as +50/month alone")
    try:
        limits = parse_increases(text) if arguments.until else parse_amounts(text)
        until = " ".join(arguments.until or ())
        until_ms = parse_until(until, timezone=context.settings.timezone) if until else 0
    except ValueError as error:
        raise CommandError(str(error)) from None
    if not limits:
        raise CommandError(f"no amount is named; accepted are {ACCEPTED_LIMITS}")
    is_new = arguments.new
    if until:
        change = await raise_limits(context, arguments.account, limits, until_ms=until_ms, is_new=is_new)
    else:
        change = await set_limits(context, arguments.account, limits, is_new=is_new)
    return _print_change(change, arguments)


async def _limit_clear(context: OperatorContext, arguments: Namespace) -> int:
    if arguments.raw_keys:
        print_line(f"{await clear_raw_key_limits(context)} limits on keys that are no hash were cleared")
        return 0
    if arguments.account is None:
        raise CommandError("limit clear: no ACCOUNT is named")
    change = await clear_limits(context, arguments.account, _choice(arguments.which))
    if not change.is_done:
        which = f" {arguments.which}" if arguments.which else ""
        print_error(f"not cleared: {arguments.account} has no runtime limit{which}")
        return 1
    return _print_change(change, arguments)


def _choice(which: str | None) -> SlotChoice:
    try:
        return every_slot if which is None else parse_choice(which)
    except ValueError as error:
        raise CommandError(str(error)) from None


async def _limit_list(context: OperatorContext, arguments: Namespace) -> int:
    _print_limits(await list_limits(context), arguments, if_none="no runtime limits")
    return 0


def _print_change(change: LimitsChange, arguments: Namespace) -> int:
    warn(change.warnings)
    _print_limits(change.binding, arguments, if_none=f"nothing limits {arguments.account}")
    return 0


def _print_limits(rows: Sequence[LimitRow], arguments: Namespace, *, if_none: str) -> None:
    shown = rows if arguments.json else list(map(_table_row, rows))
    print_rows(shown, in_json=arguments.json, if_none=if_none)


def _table_row(row: LimitRow) -> Row:
    increases = () if row.increases is OMITTED else row.increases
    limit = " ".join([row.text, *(f"+{each.amount} until {each.until}" for each in increases)])
    shown: Row = {"account": row.account, "limit": limit, "layer": row.layer}
    left = {} if row.available is OMITTED else {"left": row.available}
    pattern = {"pattern": row.pattern} if isinstance(row.pattern, str) else {}
    return {**shown, **left, **pattern}
