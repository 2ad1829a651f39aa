"""Verbs and figures in the words of a scenario: amounts are USD in decimal text, durations seconds."""

from collections.abc import Sequence
from zoneinfo import ZoneInfo

from budget_middleware.core.answers import Answer, Entry
from budget_middleware.core.model import Target
from budget_middleware.core.money import nanos_from_usd
from budget_middleware.core.statuses import Status
from budget_middleware.core.units import Amounts, Unit, figure_text
from budget_middleware.core.verbs import Adjust, Expire, Extend, Finalize, Grow, Release, Reserve, Transfer
from budget_middleware.core.windows import Period, window_at
from budget_middleware.stores.base import Store
from budget_middleware.testing import MovableClock

START_MS = MovableClock().now_ms
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
UTC = ZoneInfo("UTC")

Verb = Reserve | Finalize | Release | Extend | Grow | Expire | Adjust | Transfer


def target(
    account: str = "key:a",
    limit: str | None = None,
    *,
    period: Period = Period.MONTH,
    unit: Unit = Unit.USD,
    at_ms: int = START_MS,
    timezone: ZoneInfo = UTC,
) -> Target:
    window = window_at(period, time_ms=at_ms, timezone=timezone)
    figure = None if limit is None else nanos_from_usd(limit) if unit is Unit.USD else int(limit)
    return Target(account, window, figure, unit)


def amounts(text: str) -> Amounts:
    """USD in decimal text, then tokens and requests where there are any: `0.60`, `0.60 812`, `0.60 812 1`."""
    usd, *others = text.split()
    return Amounts(nanos_from_usd(usd), *map(int, others))


KEY = target(limit="1.00")
"""The account of most scenarios: B = 1.00."""

LASTING = target(limit="1.00", period=Period.TOTAL)
"""The same for a store on a clock of its own: whenever a test runs, its window does not end, nor has it."""


def reserve(
    id_: str,
    amount: str,
    *targets: Target,
    lease_s: int = 60,
    charge: str = "0",
    enforce: bool = True,
    version: int = 0,
    trace: str = "",
) -> Reserve:
    return Reserve(
        id=id_,
        targets=targets or (KEY,),
        asked=amounts(amount),
        lease_ms=1000 * lease_s,
        expiry_charge=amounts(charge),
        enforce=enforce,
        limits_version=version,
        trace=trace,
    )


def finalize(id_: str, actual: str, *targets: Target, age_ms: int = 0) -> Finalize:
    return Finalize(id_, targets or (KEY,), amounts(actual), age_ms=age_ms)


def adjust(id_: str, amount: str, *targets: Target, any_window: bool = False, as_of: int = 0) -> Adjust:
    return Adjust(id_, targets or (KEY,), amounts(amount), any_window=any_window, reason="test", as_of=as_of)


def transfer(id_: str, amount: str, source: Target, destination: Target, *, any_window: bool = False) -> Transfer:
    return Transfer(id_, (source,), (destination,), amounts(amount), any_window=any_window, reason="test")


def grow(id_: str, to: str, *, lease_s: int = 60, trace: str = "") -> Grow:
    return Grow(id_, amounts(to), 1000 * lease_s, trace=trace, reason="outgrown")


def release(id_: str, *, age_ms: int = 0) -> Release:
    return Release(id_, age_ms=age_ms)


async def send(store: Store, verb: Verb) -> Answer:
    """The verb's method, found by its class: `Reserve` -> `reserve`."""
    method = getattr(store, type(verb).__name__.lower())
    answer: Answer = await method(verb)
    return answer


async def reserve_decided(store: Store, verb: Reserve) -> Answer:
    """As a ledger does: repeated until no due lease stands in the way."""
    while (answer := await store.reserve(verb)).status is Status.LEASES_DUE:
        pass
    return answer


async def figures(store: Store, of: Target = KEY) -> tuple[str, str]:
    """Spent and reserved in decimal text; a counter of money that nobody has touched has ("0.00", "0.00")."""
    for view in await store.counters(of.account):
        if view.counter == of.counter:
            return figure_text(view.balance.spent, of.unit), figure_text(view.balance.reserved, of.unit)
    return figure_text(0, of.unit), figure_text(0, of.unit)


async def whole_journal(store: Store, *, page: int = 1000) -> list[Entry]:
    entries: list[Entry] = []
    while found := await store.journal(after_seq=entries[-1].seq if entries else 0, count=page):
        entries += found
    return entries


def seqs(entries: Sequence[Entry]) -> list[int]:
    return [entry.seq for entry in entries]
