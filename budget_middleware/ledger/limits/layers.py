"""Which limits bind a request: those set at run time, then a user's own source, then the environment's."""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import cast

from budget_middleware.core.limits.grammar import parse_amounts
from budget_middleware.core.limits.layering import claims_for, joined_claims
from budget_middleware.core.limits.limits import Claim, LimitBook, LimitRule, rule_of
from budget_middleware.core.payers.accounts import ABSENT, GLOBAL, MODEL, account_of, parts_of
from budget_middleware.core.payers.payers import Payers, each_of
from budget_middleware.event_loops import PerEventLoop
from budget_middleware.ledger.limits.cache import Rules
from budget_middleware.ledger.limits.reader import LimitReader, OnOutage
from budget_middleware.ledger.tasks import OwnedTasks
from budget_middleware.lookups import Lookup
from budget_middleware.shared_timeout import SharedTimeout
from budget_middleware.stores.base import Store
from budget_middleware.stores.errors import StoreUnavailable, StoreUndecided

LimitsSource = Callable[[str], Awaitable[str | None]]
"""From an account to its limits as text, ``"10/day; 8inflight"`` or ``"none"``; None: it has none of its own."""

KNOWN_MAX = 4_096
"""Most requests are like one before: so many kinds of them are remembered."""

SOURCED_MAX = 16_384
"""For so many accounts the last limits from the user's source are remembered."""


class _Known:
    """The claims of a request, and the rules that they were made of: ``is_current`` as of an epoch of the cache."""

    __slots__ = ("claims", "epoch", "patterns", "rules")

    def __init__(
        self, claims: tuple[Claim, ...], *, patterns: tuple[str, ...], rules: tuple[Rules, ...], epoch: int
    ) -> None:
        self.claims = claims
        self.patterns = patterns
        self.rules = rules
        self.epoch = epoch


class _LoopLimits:
    """What one event loop knows: its limits, and the claims of requests like those before."""

    def __init__(self, reader: LimitReader) -> None:
        self.reader = reader
        self.known: dict[tuple[object, ...], _Known] = {}


class LimitLayers:
    """The layers, highest first. Of the runtime one it knows what requests needed, see `cache`."""

    def __init__(
        self,
        store: Store,
        rules: Iterable[LimitRule],
        *,
        tasks: OwnedTasks,
        on_outage: OnOutage,
        limits_source: LimitsSource | None = None,
        source_timeout_s: float,
    ) -> None:
        self._environment = LimitBook(rules)
        self._source = Lookup(limits_source) if limits_source else None
        self._source_timeout = SharedTimeout(source_timeout_s)
        self._sourced_last: dict[str, list[LimitRule]] = {}
        self._by_loop = PerEventLoop(lambda: _LoopLimits(LimitReader(store, tasks=tasks, on_outage=on_outage)))
        self.has_source = self._source is not None

    @property
    def version(self) -> int:
        """The version of the runtime limits as they are known now: to be read in the same step as the claims."""
        return self._by_loop.current().reader.version

    async def claims(
        self, payers: Payers, *, model: str, other_models: Sequence[str] = (), may_ask: bool = True
    ) -> tuple[Claim, ...]:
        """The counters of a request with their limits; what is not known of these is looked up, if that may be.

        StoreUnavailable if the user's source fails; that or StoreRefused if the store does. StoreUndecided where too
        many limits might bind the request, until the store has an index of them.
        """
        models = (model, *other_models)
        sourced = await self._sourced_within_time(self._source, payers, models) if self._source else {}
        if may_ask:
            await self._refuse_too_wide(payers, models)
        while may_ask and (missing := [pattern for each in models for pattern in self._missing(payers, each)]):
            await self._by_loop.current().reader.look_up(missing)
        # All in one step: they must be of one version.
        return self._joined(payers, models, sourced)

    async def claims_of(self, account: str, *, at_version: int) -> tuple[Claim, ...]:
        """The counters of one account, by limits that are at least of this version. Raises what `claims` raises.

        Where the user's source fails they are by what it said last.
        """
        if self.version < at_version:
            await self.refresh(self.version)
        subjects = {kind: None if subject == ABSENT else subject for kind, subject in parts_of(account)}
        model = subjects.pop(MODEL, None) or ""
        subjects.pop(GLOBAL, None)
        try:
            claims = await self.claims(subjects, model=model)
        except StoreUnavailable:
            if self._source is None:
                raise
            claims = self.claims_without_store(subjects, model=model)
        return tuple(claim for claim in claims if claim.account == account)

    async def _refuse_too_wide(self, payers: Payers, models: Sequence[str]) -> None:
        reader = self._by_loop.current().reader
        if any(reader.cache.is_too_wide(payers, model=each) for each in models):
            # Whoever reads has the index completed.
            await reader.look_up(())
            if any(reader.cache.is_too_wide(payers, model=each) for each in models):
                raise StoreUndecided("too many limits may bind it until the limits are indexed")

    def claims_without_store(
        self, payers: Payers, *, model: str, other_models: Sequence[str] = ()
    ) -> tuple[Claim, ...]:
        """By the limits that are known here, for a time when the store or the user's source cannot be asked."""
        models = (model, *other_models)
        sourced = {each: [self._last_sourced(payers, each)] for each in models} if self._source else {}
        return self._joined(payers, models, sourced)

    def _joined(
        self, payers: Payers, models: Sequence[str], sourced: Mapping[str, list[LimitBook]]
    ) -> tuple[Claim, ...]:
        claims = [
            claims_for(
                payers,
                layers=[self._runtime_book(payers, model), *sourced.get(model, ()), self._environment],
                model=model,
            )
            for model in models
        ]
        return joined_claims(*claims) if len(claims) > 1 else claims[0]

    def _missing(self, payers: Payers, model: str) -> list[str]:
        cache = self._by_loop.current().reader.cache
        return cache.missing(cache.patterns(payers, model=model))

    def known_claims(self, payers: Payers, *, model: str) -> tuple[tuple[Claim, ...], int] | None:
        """As ``claims``, without the user's source, and their version; None if something has to be looked up."""
        loop_limits = self._by_loop.current()
        key = (model, *payers.items())
        known = loop_limits.known.get(key)
        if known is None or known.epoch != loop_limits.reader.cache.epoch:
            known = self._checked_claims(loop_limits, key, known, payers, model)
        return None if known is None else (known.claims, loop_limits.reader.version)

    def _checked_claims(
        self, loop_limits: _LoopLimits, key: tuple[object, ...], known: _Known | None, payers: Payers, model: str
    ) -> _Known | None:
        """After a change of some limits: the claims that were made before, if these are not among them."""
        cache = loop_limits.reader.cache
        if cache.is_too_wide(payers, model=model):
            return None
        patterns = cache.patterns(payers, model=model)
        rules = tuple(map(cache.rules, patterns))
        if None in rules:
            return None
        if known is not None and known.patterns == patterns and known.rules == rules:
            known.epoch = cache.epoch
            return known
        found = cast("tuple[Rules, ...]", rules)
        claims = claims_for(payers, layers=[LimitBook(chain.from_iterable(found)), self._environment], model=model)
        if len(loop_limits.known) >= KNOWN_MAX:
            loop_limits.known.clear()
        known = loop_limits.known[key] = _Known(claims, patterns=patterns, rules=found, epoch=cache.epoch)
        return known

    def _runtime_book(self, payers: Payers, model: str) -> LimitBook:
        cache = self._by_loop.current().reader.cache
        patterns = cache.patterns(payers, model=model)
        return LimitBook(rule for pattern in patterns for rule in cache.rules(pattern) or ())

    def suspect(self) -> None:
        """After the store lost writes: the version that is known here may stand for other limits there."""
        for loop_limits in self._by_loop.values():
            loop_limits.reader.cache.is_suspect = True

    async def check(self) -> None:
        """Write back what the store has lost of the limits that are known here. StoreUnavailable or StoreRefused."""
        await self._by_loop.current().reader.check()

    async def refresh(self, refused_version: int) -> None:
        """Learn what has changed since a version that the store has just refused as stale."""
        await self._by_loop.current().reader.refresh(refused_version)

    async def _sourced_within_time(
        self, source: Lookup[str | None], payers: Payers, models: Iterable[str]
    ) -> dict[str, list[LimitBook]]:
        """The source's limits for the request with each model. We cannot see its connections, so a time-out bounds
        it.
        """
        try:
            with self._source_timeout.timeout():
                return {each: [await self._sourced(source, payers, each)] for each in models}
        except TimeoutError as error:
            within = f"{self._source_timeout.timeout_s:g} s"
            raise StoreUnavailable(f"limits_source gave no answer within {within}") from error

    async def _sourced(self, source: Lookup[str | None], payers: Payers, model: str) -> LimitBook:
        """The source's limits of each account; StoreUnavailable, once all were asked, if it fails for any.

        The others are asked all the same: a caller that names an account that the source cannot read must not be
        without the limits of the rest.
        """
        rules: list[LimitRule] = []
        failures: list[tuple[str, Exception]] = []
        for account in _accounts_of(payers, model):
            try:
                text = await source(account)
                limits = parse_amounts(text) if text is not None else {}
            except Exception as error:  # noqa: BLE001 - it is the user's code
                failures.append((account, error))
            else:
                found = [rule_of(account, slot, terms) for slot, terms in limits.items()]
                self._remember(account, found)
                rules += found
        for account, failure in failures:
            raise StoreUnavailable(f"limits_source failed for {account}: {failure}") from failure
        return LimitBook(rules)

    def _remember(self, account: str, rules: list[LimitRule]) -> None:
        # Taken out first, so that the latest stands last. Strangers' accounts have no limits, and push nothing out.
        self._sourced_last.pop(account, None)
        if rules:
            self._sourced_last[account] = rules
            if len(self._sourced_last) > SOURCED_MAX:
                del self._sourced_last[next(iter(self._sourced_last))]

    def _last_sourced(self, payers: Payers, model: str) -> LimitBook:
        return LimitBook(
            rule for account in _accounts_of(payers, model) for rule in self._sourced_last.get(account, ())
        )


def _accounts_of(payers: Payers, model: str) -> Iterator[str]:
    """The accounts of a request that the user's source is asked for."""
    for kind, subjects in payers.items():
        for subject in each_of(subjects):
            yield account_of(kind, subject or ABSENT)
    if model:
        yield account_of(MODEL, model)
    yield GLOBAL
