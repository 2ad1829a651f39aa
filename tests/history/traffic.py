"""Random verbs on a few accounts, for histories of them."""

from random import Random

from budget_middleware.core.costs.bill_packing import pack
from budget_middleware.core.model import Target
from budget_middleware.core.statuses import Status
from budget_middleware.core.units import Amounts, Unit
from budget_middleware.core.verbs import Adjust, Finalize, Grow, Release, Reserve
from budget_middleware.core.windows import Period
from budget_middleware.stores.base import Store
from budget_middleware.testing import MovableClock
from tests.stores.verbs import target

SETS = (
    (("key:a", Period.DAY, Unit.USD), ("team:t", Period.MONTH, Unit.USD), ("team:t", Period.MONTH, Unit.TOKENS)),
    (("key:b", Period.HOUR, Unit.USD), ("team:t", Period.MONTH, Unit.USD), ("team:t", Period.TOTAL, Unit.INFLIGHT)),
    (("key:c", Period("24h"), Unit.USD), ("global", Period.TOTAL, Unit.USD)),
)


class Traffic:
    """Requests that are reserved, grow, end, are released, expire; and operators' adjustments."""

    def __init__(self, clock: MovableClock, *, seed: int) -> None:
        self.random = Random(seed)
        self._clock = clock
        self._pending: dict[str, tuple[Target, ...]] = {}
        self._n = seed * 1_000_000
        self.ended: list[Finalize] = []
        """The endings that were answered, as a worker remembers them."""

    async def play(self, store: Store, n_verbs: int) -> None:
        for _ in range(n_verbs):
            await self._step(store)

    async def finish(self, store: Store) -> None:
        for id_ in list(self._pending):
            await self._end(store, id_)

    async def _step(self, store: Store) -> None:
        random = self.random
        self._clock.advance(ms=random.choice((0, 0, 7, 250, 3_000)))
        kind = random.random()
        if kind < 0.45 or not self._pending:
            await self._reserve(store)
        elif kind < 0.8:
            await self._end(store, random.choice(list(self._pending)))
        elif kind < 0.9:
            id_ = random.choice(list(self._pending))
            self._pending.pop(id_)
            await store.release(Release(id_, reason="error"))
        elif kind < 0.95:
            id_ = random.choice(list(self._pending))
            await store.grow(Grow(id_, Amounts(usd=random.randrange(2_000), tokens=40), 30_000))
        else:
            self._n += 1
            targets = self._targets()
            amount = Amounts(usd=random.randrange(-300, 300))
            await store.adjust(Adjust(f"{self._n:032x}", targets, amount, reason="test"))

    def _targets(self) -> tuple[Target, ...]:
        now_ms = self._clock()
        return tuple(
            target(account, period=period, unit=unit, at_ms=now_ms)
            for account, period, unit in self.random.choice(SETS)
        )

    async def _reserve(self, store: Store) -> None:
        self._n += 1
        id_, targets = f"{self._n:032x}", self._targets()
        asked = Amounts(usd=self.random.randrange(1_000), tokens=20, requests=1, inflight=1)
        charge = Amounts(usd=self.random.choice((0, 0, 90)))
        verb = Reserve(id_, targets, asked, lease_ms=30_000, expiry_charge=charge)
        while (await store.reserve(verb)).status is Status.LEASES_DUE:
            pass
        self._pending[id_] = targets

    async def _end(self, store: Store, id_: str) -> None:
        actual = Amounts(usd=self.random.randrange(1_500), tokens=self.random.randrange(60), requests=1)
        verb = Finalize(id_, self._pending.pop(id_), actual, reason="usage", bill=pack(nanos=actual.usd))
        await store.finalize(verb)
        self.ended.append(verb)
