"""`limit`: runtime limits, which operators set while gateways run."""

from argparse import Namespace
from typing import Any

from budget_middleware.cli.binding import Bound, read_limits_of, runtime_limits_of, runtime_rules
from budget_middleware.cli.desk import Desk, on_state
from budget_middleware.cli.output import Row, complain, say, say_rows, usd
from budget_middleware.cli.parsing import CommandError, add_command, pattern
from budget_middleware.cli.slips import add_new, require_known, warn_of_unknown_kinds
from budget_middleware.core.accounts import account_of, masked, names_raw_key, parse_pattern
from budget_middleware.core.limits import PERIODS, parse_amounts
from budget_middleware.core.windows import Period

_ACCEPTED_AMOUNTS = "USD/PERIOD from 0 upwards, none/PERIOD and none"


def add_to(commands: Any) -> None:
    says = "Set, clear and list runtime limits, which go before BUDGET_LIMITS."
    limit = commands.add_parser(
        "limit", help=says, description=f"{says} They bind on every worker at its next reserve."
    )
    verbs = limit.add_subparsers(metavar="COMMAND", required=True)
    accounts = "such as key:1f3a9c0b2d4e5f60, key, team:research or key+model:*+gpt-4o"
    setting = add_command(verbs, "set", on_state(_limit_set), says="Limit an account, or all that a pattern names.")
    setting.add_argument("account", metavar="ACCOUNT", type=pattern, help=accounts)
    setting.add_argument(
        "amounts",
        metavar="AMOUNT/PERIOD",
        nargs="+",
        help=f"{_ACCEPTED_AMOUNTS}; none alone lifts every period",
    )
    add_new(setting)
    clear = add_command(verbs, "clear", on_state(_limit_clear), says="Forget runtime limits of an account.")
    clear.add_argument("account", metavar="ACCOUNT", nargs="?", type=pattern, help=accounts)
    clear.add_argument("period", metavar="PERIOD", nargs="?", choices=PERIODS, help="only this one")
    clear.add_argument(
        "--raw-keys",
        action="store_true",
        help="instead of ACCOUNT: all limits on keys that are no hash, which version 0.1.0 took",
    )
    add_command(verbs, "list", on_state(_limit_list), says="Show the runtime limits.")


async def _limit_set(desk: Desk, arguments: Namespace) -> int:
    try:
        amounts = parse_amounts(";".join(arguments.amounts))
    except ValueError as error:
        raise CommandError(str(error)) from None
    if not amounts:
        raise CommandError(f"no amount is named; accepted are {_ACCEPTED_AMOUNTS}")
    await require_known(desk, arguments.account, is_new=arguments.new)
    warn_of_unknown_kinds(arguments.account, desk)
    for period, limit_nanos in amounts.items():
        await desk.store.set_limit(arguments.account, period=period, limit_nanos=limit_nanos)
    return await _say_what_binds(desk, arguments)


async def _limit_clear(desk: Desk, arguments: Namespace) -> int:
    if arguments.raw_keys:
        return await _clear_raw_keys(desk)
    if arguments.account is None:
        raise CommandError("limit clear: no ACCOUNT is named")
    period = Period(arguments.period) if arguments.period else None
    runtime = await runtime_limits_of(desk, arguments.account)
    if not any(name == arguments.account and period in (None, each) for name, each in runtime.limits):
        complain(f"not cleared: {arguments.account} has no runtime limit{f' a {period}' if period else ''}")
        return 1
    await desk.store.clear_limit(arguments.account, period=period)
    return await _say_what_binds(desk, arguments)


async def _clear_raw_keys(desk: Desk) -> int:
    """Remove what `limit set` refuses today; the accounts are not shown, since they may be tokens."""
    raw = [name for name, _ in (await desk.store.limits()).limits if names_raw_key(parse_pattern(name))]
    for name in dict.fromkeys(raw):
        await desk.store.clear_limit(name, period=None)
    say(f"{len(raw)} limits on keys that are no hash were cleared")
    return 0


async def _limit_list(desk: Desk, arguments: Namespace) -> int:
    rows = [
        _limit_row(
            masked(account_of("+".join(rule.kinds), "+".join(rule.subjects))),
            rule.period,
            Bound(rule.limit_nanos, "runtime"),
            as_json=arguments.json,
        )
        for rule in runtime_rules(await desk.store.limits())
        if rule.period is not None
    ]
    say_rows(rows, as_json=arguments.json, if_none="no runtime limits")
    return 0


async def _say_what_binds(desk: Desk, arguments: Namespace) -> int:
    limits = await read_limits_of(desk, arguments.account)
    rows = [
        _limit_row(arguments.account, period, bound, as_json=arguments.json)
        for period, bound in limits.of(arguments.account).items()
    ]
    say_rows(rows, as_json=arguments.json, if_none=f"nothing limits {arguments.account}")
    return 0


def _limit_row(name: str, period: Period, bound: Bound, *, as_json: bool) -> Row:
    limit_usd = usd(bound.limit_nanos)
    if as_json:
        return {"account": name, "period": period, "limit_usd": limit_usd, "layer": bound.layer}
    return {"account": name, "limit": f"{limit_usd or 'none'}/{period}", "layer": bound.layer}
