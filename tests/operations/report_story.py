"""Random requests of a few payers, and what operators do beside them, for reports."""

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from zoneinfo import ZoneInfo

from budget_middleware.core.costs.bill_packing import PricedCall, pack
from budget_middleware.core.costs.charges import CORRECTS
from budget_middleware.core.costs.pricing import Line, Rates, UsageClass
from budget_middleware.core.limits.refusals import LoggedRefusal
from budget_middleware.core.model import Balance, Rejection, Target
from budget_middleware.core.money import usd_from_nanos
from budget_middleware.core.periods import Period
from budget_middleware.core.units import Amounts
from budget_middleware.core.verbs import Adjust, Finalize
from budget_middleware.stores.base import Store
from budget_middleware.testing import MovableClock
from tests.stores.verbs import HOUR_MS, adjust, finalize, release, reserve, target, transfer

BERLIN = ZoneInfo("Europe/Berlin")
MODELS = {
    name: Rates(model=name, provider=provider, source="genai-prices", by_unit={})
    for name, provider in [("gpt-4o", "openai"), ("gpt-4o-mini", "openai"), ("haiku", "anthropic")]
}


def bill_of(nanos: int, model: str, tokens: int) -> str:
    """All of it is one line, or what a line cannot say an amount besides."""
    return pack(nanos=nanos, calls=[PricedCall(MODELS[model], [Line(UsageClass.OUTPUT, tokens, 1_000_000)])])


def booked(id_: str, nanos: int, *targets: Target, model: str = "gpt-4o", tokens: int = 3) -> Finalize:
    return replace(finalize(id_, usd_from_nanos(nanos), *targets), bill=bill_of(nanos, model, tokens))


def refusal_of(account: str, time_ms: int, *, id_: str = "f", times: int = 3) -> LoggedRefusal:
    limited = target(account, "0", at_ms=time_ms, timezone=BERLIN)
    return LoggedRefusal(time_ms, id_ * 32, (account,), Rejection(limited, Balance(5), 9), "haiku", times=times)


class Story:
    """Random requests of a few payers over some days, ending in every way, beside what operators do."""

    def __init__(self, store: Store, clock: MovableClock, random: Random) -> None:
        self._store = store
        self._clock = clock
        self._random = random
        self._held: dict[str, tuple[Target, ...]] = {}
        self._id = 0

    def _new_id(self) -> str:
        self._id += 1
        return f"{self._id:032x}"

    def _targets(
        self, *accounts: str, periods: Sequence[Period] = (Period.HOUR, Period.DAY, Period.MONTH)
    ) -> tuple[Target, ...]:
        at_ms = self._clock.now_ms
        return tuple(
            target(account, period=period, at_ms=at_ms, timezone=BERLIN) for account in accounts for period in periods
        )

    def _payers(self) -> tuple[str, ...]:
        choose = self._random.choice
        tags = self._random.sample(["tag:a", "tag:b", "tag:c"], self._random.randint(0, 3))
        return ("global", choose(["team:x", "team:y"]), choose(["user:p", "user:q", "user:r"]), *tags)

    async def play(self, steps: int) -> None:
        verbs = [
            self._reserve,
            self._reserve,
            self._finalize,
            self._late,
            self._release,
            self._unreserved,
            self._by_hand,
        ]
        for _ in range(steps):
            self._clock.advance(ms=self._random.randint(0, 5 * HOUR_MS))
            await self._random.choice(verbs)()
        while self._held:
            await self._finalize()

    async def _reserve(self) -> None:
        id_, targets = self._new_id(), self._targets(*self._payers())
        charge = self._random.choice(["0", "0.000000003"])
        await self._store.reserve(reserve(id_, "0.00000001", *targets, charge=charge, lease_s=7 * 3_600))
        self._held[id_] = targets

    async def _finalize(self) -> None:
        if self._held:
            id_, targets = self._held.popitem()
            model, nanos = self._random.choice(list(MODELS)), self._random.randint(0, 20)
            await self._store.finalize(booked(id_, nanos, *targets, model=model))

    async def _late(self) -> None:
        """What the sweep expires may end all the same."""
        self._clock.advance(ms=8 * HOUR_MS)
        await self._store.sweep(at_most=100)

    async def _release(self) -> None:
        if self._held:
            id_, _ = self._held.popitem()
            await self._store.release(release(id_))

    async def _unreserved(self) -> None:
        await self._store.finalize(booked(self._new_id(), self._random.randint(0, 9), *self._targets(*self._payers())))

    async def _by_hand(self) -> None:
        amount = usd_from_nanos(self._random.randint(-9, 9))
        await self._store.adjust(adjust(self._new_id(), amount, *self._targets("team:x")))
        source, destination = self._targets("org:1", "org:2", periods=[Period.MONTH])
        await self._store.transfer(transfer(self._new_id(), "0.000000005", source, destination))
        corrected = self._targets(*self._payers())
        reason, bill = f"{CORRECTS}{self._new_id()}", bill_of(1, "haiku", 4)
        await self._store.adjust(Adjust(self._new_id(), corrected, Amounts(usd=-2), reason=reason, bill=bill))
