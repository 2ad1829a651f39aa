"""Gateways under test: middlewares over one store's counters, and what the counters show."""

from collections.abc import Awaitable, Callable
from typing import Any

from budget_middleware import BudgetMiddleware
from budget_middleware.core.money import usd_from_nanos
from budget_middleware.core.statuses import Op
from budget_middleware.stores.base import Store
from tests.request.wire import KEY
from tests.stores.verbs import whole_journal

Hook = Callable[[], Awaitable[None]]


class TamperedStore:
    """A store before or after whose verbs a test can wait or fail; `calls` names the verbs that were asked for."""

    ends_when_cancelled = True

    def __init__(self, store: Store) -> None:
        self._store = store
        self.before: dict[str, Hook] = {}
        self.after: dict[str, Hook] = {}
        self.calls: list[str] = []

    def is_silent(self) -> bool:
        return True

    def __getattr__(self, verb: str) -> Any:
        method = getattr(self._store, verb)

        async def tampered(*arguments: Any, **options: Any) -> Any:
            self.calls.append(verb)
            if verb in self.before:
                await self.before[verb]()
            answer = await method(*arguments, **options)
            if verb in self.after:
                await self.after[verb]()
            return answer

        return tampered


class Bench:
    """Makes middlewares, each as a worker of its own over the same counters."""

    def __init__(self, open_store: Callable[[], Store], prices: str, clock: Any) -> None:
        self._open_store = open_store
        self._prices = prices
        self.clock = clock
        self.reader = open_store()
        self.guards: list[BudgetMiddleware] = []

    def guard(self, app: Any, **settings: Any) -> BudgetMiddleware:
        """A middleware with a budget of $1 a key and month, and time for a machine that others use too."""
        settings = {"limits": "key=1/month", "prices": self._prices, "store_timeout_s": "10", **settings}
        settings.setdefault("store", TamperedStore(self._open_store()))
        guard = BudgetMiddleware(app, **settings)
        assert hasattr(guard, "ledger"), "a setting is wrong"
        self.guards.append(guard)
        return guard

    def store_of(self, guard: BudgetMiddleware) -> TamperedStore:
        store = guard.ledger.store
        assert isinstance(store, TamperedStore)
        return store

    async def settle(self) -> None:
        """Wait for what the ledgers still owe to the store."""
        for guard in self.guards:
            await guard.ledger.drain()

    async def figures(self, account: str = KEY, *, window: str | None = None) -> tuple[str, str]:
        """Spent and reserved of an account's only counter, or of the one with this window's id."""
        await self.settle()
        views = [v for v in await self.reader.counters(account) if window in (None, v.counter.window)]
        if not views:
            return "0.00", "0.00"
        assert len(views) == 1, f"several counters: {views}"
        balance = views[0].balance
        return usd_from_nanos(balance.spent), usd_from_nanos(balance.reserved)

    async def accounts(self) -> set[str]:
        await self.settle()
        return {view.counter.account for view in await self.reader.counters()}

    async def ops(self) -> list[Op]:
        """What the journal tells, oldest first."""
        await self.settle()
        return [entry.op for entry in await whole_journal(self.reader)]
