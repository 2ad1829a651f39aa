"""Which limit binds an account, as far as an operator can know: a runtime limit, else BUDGET_LIMITS."""

from collections.abc import Iterable, Sequence
from itertools import product

from budget_middleware.core.limits.layering import Bound, bounds_of
from budget_middleware.core.limits.limits import (
    LIFTED,
    Claim,
    LimitBook,
    LimitMode,
    LimitRule,
    Slot,
    Terms,
    names_no_key,
    slot_order,
)
from budget_middleware.core.limits.patterns import is_open, parts_standing_for
from budget_middleware.core.model import Carry, Counter, Target
from budget_middleware.core.payers.accounts import account_of, parts_of
from budget_middleware.core.periods import Period
from budget_middleware.core.units import Unit
from budget_middleware.core.windows import window_named
from budget_middleware.ledger.limits.targets import target_in
from budget_middleware.operations.context import OperatorContext
from budget_middleware.operations.errors import OperationError
from budget_middleware.stores.records.limit_fields import rules_of
from budget_middleware.stores.runtime_limits import NO_VERSION, LimitValue, RuntimeLimits


class BindingLimits:
    """The layers that a command can read; a limits_source is known only to the gateway's code.

    Temporary increases count that have not lapsed at ``now_ms``.
    """

    def __init__(self, *, runtime: RuntimeLimits, environment: Sequence[LimitRule], now_ms: int = 0) -> None:
        self.now_ms = now_ms
        rules = runtime_rules(runtime)
        self._layers = {"runtime": LimitBook(rules), "environment": LimitBook(environment)}
        # Asked for each of what may be 100,000 counters, and most ledgers have no such limit.
        self._has_unenforced = any(
            rule.slot and rule.slot.mode is not LimitMode.ENFORCE for rule in (*environment, *rules)
        )
        self.exact_accounts = {
            rule.pattern
            for rule in (*environment, *rules)
            if not any(map(is_open, rule.subjects)) and not names_no_key(rule)
        }

    def of(self, account: str) -> dict[Slot, Bound]:
        """What binds each slot of an account, or of all accounts that a pattern stands for."""
        return bounds_of(account, self._layers)

    def limit(self, counter: Counter) -> int | None:
        """The limit of a counter that is enforced."""
        bound = self._bound(counter)
        return bound.terms.amount_at(self.now_ms) if bound else None

    def unenforced(self, counter: Counter) -> dict[LimitMode, int]:
        """The limits of a counter that refuse nothing, by their modes."""
        if not self._has_unenforced:
            return {}
        bounds = self.of(counter.account)
        slots = {mode: Slot(counter.period, counter.unit, mode) for mode in (LimitMode.SOFT, LimitMode.SHADOW)}
        amounts = {mode: bounds[slot].terms.amount_at(self.now_ms) for mode, slot in slots.items() if slot in bounds}
        return {mode: amount for mode, amount in amounts.items() if amount is not None}

    def carry(self, counter: Counter, previous: str) -> Carry | None:
        """What its limit carries over from the window before, whose id is ``previous``."""
        bound = self._bound(counter)
        if bound is None or not bound.terms.carry or bound.terms.amount is None:
            return None
        return Carry(bound.terms.carry, bound.terms.amount, previous)

    def pattern(self, counter: Counter) -> str | None:
        """The account or pattern on which the limit of a counter is set."""
        bound = self._bound(counter)
        return bound.pattern if bound and bound.terms.amount is not None else None

    def _bound(self, counter: Counter) -> Bound | None:
        return self.of(counter.account).get(Slot(counter.period, counter.unit))

    def claim(self, account: str, slot: Slot) -> Claim:
        """What a gateway claims of a counter of the account by the limit that is enforced, as far as that is known."""
        bound = self.of(account).get(slot)
        terms = bound.terms if bound else LIFTED
        return Claim(account, slot.period, terms.amount, slot.unit, terms.carry, terms.increases)

    def all_of(self, counter: Counter) -> dict[Slot, Terms]:
        """The limits of a counter, one of each mode, with the increases that have not lapsed."""
        return {
            slot: bound.terms._replace(increases=tuple(bound.terms.increases_at(self.now_ms)))
            for slot, bound in self.of(counter.account).items()
            if slot[:2] == (counter.period, counter.unit) and bound.terms.amount is not None
        }

    def limited(self, account: str) -> list[Slot]:
        """The counters of an account that any limit is on, as slots of what is enforced."""
        slots = (slot for slot, bound in self.of(account).items() if bound.terms.amount is not None)
        return list(dict.fromkeys(Slot(slot.period, slot.unit) for slot in slots))

    def limited_periods(self, account: str, unit: Unit = Unit.USD) -> list[Period]:
        """The periods in which an account has a limit in this unit."""
        return [slot.period for slot in self.limited(account) if slot.unit is unit]


async def read_limits(context: OperatorContext) -> BindingLimits:
    return await binding_with(context, await context.store.limits())


async def read_limits_of(context: OperatorContext, account: str) -> BindingLimits:
    """As far as they concern one account or pattern: a store may have 100,000 others."""
    return await binding_with(context, await read_runtime_limits_of(context, account))


async def binding_with(context: OperatorContext, runtime: RuntimeLimits) -> BindingLimits:
    """What binds under these runtime limits, above BUDGET_LIMITS, at the store's time."""
    now_ms = (await context.store.head()).now_ms
    return BindingLimits(runtime=runtime, environment=context.settings.limits, now_ms=now_ms)


async def read_runtime_limits_of(context: OperatorContext, account: str) -> RuntimeLimits:
    """The runtime limits of an account or pattern, and of all patterns that stand for it."""
    kinds, subjects = zip(*parts_of(account), strict=True)
    parts = product(*map(parts_standing_for, subjects))
    patterns = dict.fromkeys(account_of("+".join(kinds), "+".join(each)) for each in parts)
    news = await context.store.limit_news(list(patterns), since_version=NO_VERSION)
    return RuntimeLimits(news.version, news.limits)


def runtime_rules(runtime: RuntimeLimits) -> list[LimitRule]:
    """The limits in a store as rules, sorted by account and slot; what lifts all is first."""
    by_pattern: dict[str, dict[str, LimitValue]] = {}
    for (pattern, field), value in runtime.limits.items():
        by_pattern.setdefault(pattern, {})[field] = value
    return [rule for pattern in sorted(by_pattern) for rule in _sorted(rules_of(pattern, by_pattern[pattern]))]


def _sorted(rules: Iterable[LimitRule]) -> list[LimitRule]:
    return sorted(rules, key=lambda rule: (rule.slot is not None, rule.slot and slot_order(rule.slot)))


def period_named(text: str) -> Period:
    """The period that an operator names."""
    try:
        return Period(text)
    except ValueError as error:
        raise OperationError(str(error)) from None


async def targets_in(context: OperatorContext, window_id: str, claims: Sequence[Claim]) -> tuple[Target, ...]:
    """The counters of claims, all of one period, in the window of it that an operator names."""
    zone = context.settings.timezone
    try:
        window = window_named(claims[0].period, window_id, timezone=zone)
    except ValueError as error:
        raise OperationError(str(error)) from None
    now_ms = (await context.store.head()).now_ms
    return tuple(target_in(window, claim, now_ms=now_ms, timezone=zone) for claim in claims)
