"""`adjust` and `release`: what an operator may book and give back, and what is so afterwards."""

from argparse import Namespace
from typing import Any

from budget_middleware.cli.binding import read_limits_of
from budget_middleware.cli.desk import Desk, on_state
from budget_middleware.cli.output import Row, complain, say_rows, usd
from budget_middleware.cli.parsing import CommandError, account, add_command, amount, reason
from budget_middleware.cli.slips import add_new, require_confirmed, require_known, warn_of_unknown_kinds
from budget_middleware.core.limits import PERIODS, Claim
from budget_middleware.core.model import Entry, Status, Target
from budget_middleware.core.units import Amounts
from budget_middleware.core.windows import Period, window_at, window_named
from budget_middleware.stores.base import StoreUnavailable


def add_to(commands: Any) -> None:
    adjust = add_command(
        commands,
        "adjust",
        on_state(_adjust),
        says="Add an amount to what an account has spent; a negative one is a credit.",
        more="It is booked in the current window of every period that is limited or has a counter.",
    )
    add_new(adjust)
    adjust.add_argument(
        "--yes", action="store_true", help="even if the amount is more than the limit and spending of all its counters"
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


async def _adjust(desk: Desk, arguments: Namespace) -> int:
    claims, targets = await _adjusted_counters(desk, arguments.account, arguments.window)
    await require_known(desk, arguments.account, is_new=arguments.new)
    await _require_confirmed(desk, arguments, claims, targets)
    warn_of_unknown_kinds(arguments.account, desk)
    try:
        answer = await desk.ledger.adjust(
            claims, amount=Amounts(usd=arguments.amount), reason=arguments.reason, targets=targets
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
    limits = await read_limits_of(desk, name)
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


async def _require_confirmed(
    desk: Desk, arguments: Namespace, claims: list[Claim], targets: tuple[Target, ...] | None
) -> None:
    now_ms = (await desk.store.head()).now_ms
    zone = desk.settings.timezone
    current = (
        Target(claim.account, window_at(claim.period, time_ms=now_ms, timezone=zone), claim.limit_nanos)
        for claim in claims
    )
    require_confirmed(
        arguments.amount,
        counters=[(target.counter, target.limit) for target in targets or current],
        views=await desk.store.counters(arguments.account),
        is_new=arguments.new,
        is_confirmed=arguments.yes,
    )


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
        "spent_before_usd": usd(entry.spent_before),
        "spent_usd": usd(entry.spent),
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
            "reserved_before_usd": usd(entry.reserved_before),
            "reserved_usd": usd(entry.reserved),
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
