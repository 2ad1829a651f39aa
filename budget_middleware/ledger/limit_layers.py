"""Which limits bind a request: those set at run time, then a user's own source, then the environment's."""

from collections.abc import Awaitable, Callable, Iterable, Mapping

from budget_middleware.core.accounts import ABSENT, GLOBAL, MODEL, account_of, parse_pattern
from budget_middleware.core.limits import Claim, LimitBook, LimitRule, claims_for, parse_amounts
from budget_middleware.core.model import Answer
from budget_middleware.core.windows import Period
from budget_middleware.lookups import Lookup
from budget_middleware.stores.base import RuntimeLimits, Store, StoreUnavailable

LimitsSource = Callable[[str], Awaitable[str | None]]
"""From an account to its limits as text, ``"10/day; 100/month"`` or ``"none"``; None: it has none of its own."""

KNOWN_MAX = 4_096
"""Most requests are like one before: so many kinds of them are remembered."""

UNKNOWN_VERSION = -1
"""No store's: a reserve that carries it is answered with the version to fetch."""


class LimitLayers:
    """The layers, highest first. The runtime one is refreshed whenever the store says that it is stale."""

    def __init__(self, store: Store, rules: Iterable[LimitRule], *, limits_source: LimitsSource | None = None) -> None:
        self._environment = LimitBook(rules)
        self._runtime = LimitBook(())
        self._source = Lookup(limits_source) if limits_source else None
        self._store = store
        self._fetch_runtime = self._runtime_lookup()
        self._known: dict[tuple[object, ...], tuple[Claim, ...]] = {}
        self.has_source = self._source is not None
        self.version = 0

    async def claims(self, payers: Mapping[str, str | None], *, model: str) -> tuple[Claim, ...]:
        """The counters of a request with their limits. StoreUnavailable if the user's source fails."""
        if self._source is None:
            return self.known_claims(payers, model=model)
        layers = [self._runtime, await self._sourced(self._source, payers, model), self._environment]
        return claims_for(payers, layers=layers, model=model)

    def known_claims(self, payers: Mapping[str, str | None], *, model: str) -> tuple[Claim, ...]:
        """As ``claims``, without the user's source."""
        key = (model, *payers.items())
        claims = self._known.get(key)
        if claims is None:
            claims = claims_for(payers, layers=[self._runtime, self._environment], model=model)
            if len(self._known) >= KNOWN_MAX:
                self._known.clear()
            self._known[key] = claims
        return claims

    def forget(self) -> None:
        """After the store lost writes: the version that is known here may stand for other limits there."""
        self._fetch_runtime = self._runtime_lookup()
        self.version = UNKNOWN_VERSION

    async def refresh(self, stale: Answer) -> None:
        """Fetch the runtime limits of the version that a stale reserve was answered with."""
        fetched = await self._fetch_runtime(f"{stale.generation}:{stale.limits_version}")
        self._runtime = LimitBook(
            _rule(account, period, limit_nanos) for (account, period), limit_nanos in fetched.limits.items()
        )
        self._known.clear()
        self.version = fetched.version

    def _runtime_lookup(self) -> Lookup[RuntimeLimits]:
        """Keyed by the version that is wanted: many stale requests at once ask the store a single time."""
        return Lookup(lambda _: self._store.limits())

    async def _sourced(self, source: Lookup[str | None], payers: Mapping[str, str | None], model: str) -> LimitBook:
        accounts = [account_of(kind, subject or ABSENT) for kind, subject in payers.items()]
        accounts += [account_of(MODEL, model)] if model else []
        rules: list[LimitRule] = []
        for account in (*accounts, GLOBAL):
            try:
                text = await source(account)
                amounts = parse_amounts(text) if text is not None else {}
            except Exception as error:
                raise StoreUnavailable(f"limits_source failed for {account}: {error}") from error
            rules += [_rule(account, period, limit_nanos) for period, limit_nanos in amounts.items()]
        return LimitBook(rules)


def _rule(account: str, period: Period, limit_nanos: int | None) -> LimitRule:
    parts = parse_pattern(account)
    return LimitRule(tuple(k for k, _ in parts), tuple(s for _, s in parts), period, limit_nanos)
