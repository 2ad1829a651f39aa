"""`limit`, `adjust` and `release`: what an operator may change, and what is so afterwards."""

from argparse import Namespace
from typing import Any

from budget_middleware.cli.binding import Bound, doubt_about, read_limits, runtime_rules
from budget_middleware.cli.desk import Desk, on_state
from budget_middleware.cli.output import Row, complain, say, say_rows, usd
from budget_middleware.cli.parsing import CommandError, account, add_command, amount, pattern, reason
from budget_middleware.core.accounts import account_of, masked, names_raw_key, parse_pattern
from budget_middleware.core.limits import PERIODS, Claim, parse_amounts
from budget_middleware.core.model import Entry, Status, Target
from budget_middleware.core.windows import Period, window_at, window_named
from budget_middleware.stores.base import StoreUnavailable

_ACCEPTED_AMOUNTS = "USD/PERIOD from 0 upwards, none/PERIOD and none"


def add_to(commands: Any) -> None:
    _add_limit(commands)
    adjust = add_command(
        commands,
        "adjust",
        on_state(_adjust),
        says="Add an amount to what an account has spent; a negative one is a credit.",
        more="It is booked in the current window of every period that is limited or has a counter.",
    )
    adjust.add_argument("account", metavar="ACCOUNT", type=account)
    adjust.add_argument("amount", metavar="USD", type=amount, help="such as 0.25 or -5")
    adjust.add_argument("--reason", metavar="TEXT", type=reason, required=True, help="kept in the journal")
    adjust.add_argument(
        "--window",
        metavar="PERIOD[:ID]",
        help="only this window, such as month:2026-11; without an id the current one",
    )
    release = add_command(
        commands,
        "release",
        on_state(_release),
        says="Give a pending reservation's hold back now and charge nothing.",
        more="If its owner still finalizes, that cost is booked late.",
    )
    release.add_argument("id", metavar="ID", help="as holds shows it")
    release.add_argument("--reason", metavar="TEXT", type=reason, required=True, help="kept in the journal")


def _add_limit(commands: Any) -> None:
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
    clear = add_command(verbs, "clear", on_state(_limit_clear), says="Forget runtime limits of an account.")
    clear.add_argument("account", metavar="ACCOUNT", nargs="?", type=pattern, help=accounts)
    clear.add_argument("period", metavar="PERIOD", nargs="?", choices=PERIODS, help="only this one")
    clear.add_argument(
        "--raw-keys",
        action="store_true",
        help="instead of ACCOUNT: all limits on keys that are no hash, which version 0.1.0 took",
    )
    add_command(verbs, "list", on_state(_limit_list), says="Show the runtime limits.")


# Limits.


async def _limit_set(desk: Desk, arguments: Namespace) -> int:
    try:
        amounts = parse_amounts(";".join(arguments.amounts))
    except ValueError as error:
        raise CommandError(str(error)) from None
    if not amounts:
        raise CommandError(f"no amount is named; accepted are {_ACCEPTED_AMOUNTS}")
    _warn_of(arguments.account, desk)
    for period, limit_nanos in amounts.items():
        await desk.store.set_limit(arguments.account, period=period, limit_nanos=limit_nanos)
    return await _say_what_binds(desk, arguments)


async def _limit_clear(desk: Desk, arguments: Namespace) -> int:
    if arguments.raw_keys:
        return await _clear_raw_keys(desk)
    if arguments.account is None:
        raise CommandError("limit clear: no ACCOUNT is named")
    period = Period(arguments.period) if arguments.period else None
    runtime = await desk.store.limits()
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
    limits = await read_limits(desk)
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


def _warn_of(name: str, desk: Desk) -> None:
    if doubt := doubt_about(name, desk.settings):
        complain(f"warning: {doubt}")


# Adjust and release.


async def _adjust(desk: Desk, arguments: Namespace) -> int:
    claims, targets = await _adjusted_counters(desk, arguments.account, arguments.window)
    _warn_of(arguments.account, desk)
    try:
        answer = await desk.ledger.adjust(
            claims, amount_nanos=arguments.amount, reason=arguments.reason, targets=targets
        )
    except StoreUnavailable as error:
        raise StoreUnavailable(
            f"{error}; whether it was booked, `journal {arguments.account}` tells: look before you repeat it"
        ) from None
    # It may have expired other requests' reservations in passing.
    rows = [_adjusted_row(entry) for entry in answer.entries if entry.status is Status.ADJUSTED]
    say_rows(rows, as_json=arguments.json, if_none="nothing changed")
    return 0


async def _adjusted_counters(
    desk: Desk, name: str, window: str | None
) -> tuple[list[Claim], tuple[Target, ...] | None]:
    """The claims on current windows, or the one target that the operator named."""
    limits = await read_limits(desk)
    if window is None:
        periods = await _periods_in_use(desk, name, limited=limits.limited_periods(name))
    else:
        periods = [_period(window.partition(":")[0])]
    claims = [Claim(name, period, limits.limit_nanos(name, period)) for period in periods]
    if window is None or ":" not in window:
        return claims, None
    try:
        named = window_named(periods[0], window.partition(":")[2], timezone=desk.settings.timezone)
    except ValueError as error:
        raise CommandError(str(error)) from None
    return claims, (Target(name, named, claims[0].limit_nanos),)


def _period(text: str) -> Period:
    if text not in PERIODS:
        raise CommandError(f"{text[:40]!r} is not a period; accepted are {', '.join(PERIODS)}")
    return Period(text)


async def _periods_in_use(desk: Desk, name: str, *, limited: list[Period]) -> list[Period]:
    now_ms = (await desk.store.head()).now_ms
    counters = [view.counter for view in await desk.store.counters(name)]
    counted = {
        counter.period
        for counter in counters
        if window_at(counter.period, time_ms=now_ms, timezone=desk.settings.timezone).id == counter.window
    }
    return [period for period in PERIODS if period in counted or period in limited] or [Period.MONTH]


def _adjusted_row(entry: Entry) -> Row:
    return {
        "seq": entry.seq,
        "account": entry.counter.account,
        "period": entry.counter.period,
        "window": entry.counter.window,
        "spent_before_usd": usd(entry.spent_before_nanos),
        "spent_usd": usd(entry.spent_nanos),
    }


async def _release(desk: Desk, arguments: Namespace) -> int:
    answer = await desk.ledger.expire(arguments.id, reason=arguments.reason)
    if answer.status is not Status.EXPIRED:
        complain(f"not released: {_WHY_NOT.get(answer.status, answer.status)}")
        return 1
    rows = [
        {
            "seq": entry.seq,
            "account": entry.counter.account,
            "period": entry.counter.period,
            "window": entry.counter.window,
            "reserved_before_usd": usd(entry.reserved_before_nanos),
            "reserved_usd": usd(entry.reserved_nanos),
        }
        for entry in answer.entries
        if entry.reservation_id == arguments.id
    ]
    say_rows(rows, as_json=arguments.json, if_none="released; it held nothing")
    return 0


_WHY_NOT = {
    Status.UNKNOWN: "no reservation of that id is known",
    Status.ALREADY_FINALIZED: "its cost is booked already",
    Status.ALREADY_RELEASED: "it holds nothing any more",
    Status.ALREADY_EXPIRED: "its lease is over, it holds nothing any more",
}
