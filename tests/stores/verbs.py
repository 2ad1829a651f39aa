"""Verbs and figures in the words of a scenario: amounts are USD in decimal text, durations seconds."""

from collections.abc import Sequence
from zoneinfo import ZoneInfo

from budget_middleware.core.model import (
    Adjust,
    Answer,
    Entry,
    Expire,
    Extend,
    Finalize,
    Release,
    Reserve,
    Status,
    Target,
)
from budget_middleware.core.money import nanos_from_usd, usd_from_nanos
from budget_middleware.core.units import Amounts
from budget_middleware.core.windows import Period, window_at
from budget_middleware.stores.base import Store
from budget_middleware.testing import MovableClock

START_MS = MovableClock().now_ms
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
UTC = ZoneInfo("UTC")

Verb = Reserve | Finalize | Release | Extend | Expire | Adjust


def target(
    account: str = "key:a",
    limit: str | None = None,
    *,
    period: Period = Period.MONTH,
    at_ms: int = START_MS,
    timezone: ZoneInfo = UTC,
) -> Target:
    window = window_at(period, time_ms=at_ms, timezone=timezone)
    return Target(account, window, None if limit is None else nanos_from_usd(limit))


KEY = target(limit="1.00")
"""The account of most scenarios: B = 1.00."""


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
        asked=Amounts(usd=nanos_from_usd(amount)),
        lease_ms=1000 * lease_s,
        expiry_charge=Amounts(usd=nanos_from_usd(charge)),
        enforce=enforce,
        limits_version=version,
        trace=trace,
    )


def finalize(id_: str, actual: str, *targets: Target, age_ms: int = 0) -> Finalize:
    return Finalize(id_, targets or (KEY,), Amounts(usd=nanos_from_usd(actual)), age_ms=age_ms)


def adjust(id_: str, amount: str, *targets: Target, any_window: bool = False) -> Adjust:
    return Adjust(id_, targets or (KEY,), Amounts(usd=nanos_from_usd(amount)), any_window=any_window, reason="test")


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
    """Spent and reserved in USD; a counter that nobody has touched has ("0.00", "0.00")."""
    for view in await store.counters(of.account):
        if view.counter == of.counter:
            return usd_from_nanos(view.balance.spent), usd_from_nanos(view.balance.reserved)
    return "0.00", "0.00"


async def whole_journal(store: Store, *, page: int = 1000) -> list[Entry]:
    entries: list[Entry] = []
    while found := await store.journal(after_seq=entries[-1].seq if entries else 0, count=page):
        entries += found
    return entries


def seqs(entries: Sequence[Entry]) -> list[int]:
    return [entry.seq for entry in entries]
