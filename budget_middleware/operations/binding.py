"""Which limit binds an account, as far as an operator can know: a runtime limit, else BUDGET_LIMITS."""

from collections.abc import Sequence
from itertools import product

from budget_middleware.core.accounts import account_of, parts_of
from budget_middleware.core.layering import Bound, bounds_of
from budget_middleware.core.limits import LimitBook, LimitRule, names_no_key, rule_of
from budget_middleware.core.model import Counter
from budget_middleware.core.patterns import is_open, parts_standing_for
from budget_middleware.core.units import Unit
from budget_middleware.core.windows import Period, period_order
from budget_middleware.operations.context import OperatorContext
from budget_middleware.stores.base import NO_VERSION, RuntimeLimits


class BindingLimits:
    """The layers that a command can read; a limits_source is known only to the gateway's code."""

    def __init__(self, *, runtime: RuntimeLimits, environment: Sequence[LimitRule]) -> None:
        rules = runtime_rules(runtime)
        self._layers = {"runtime": LimitBook(rules), "environment": LimitBook(environment)}
        self.exact_accounts = {
            account_of("+".join(rule.kinds), "+".join(rule.subjects))
            for rule in (*environment, *rules)
            if not any(map(is_open, rule.subjects)) and not names_no_key(rule)
        }

    def of(self, account: str) -> dict[Period, Bound]:
        """What is said of each period of an account, or of all accounts that a pattern stands for."""
        return bounds_of(account, self._layers)

    def limit(self, counter: Counter) -> int | None:
        """The limit of a counter; only money has limits yet."""
        return self.limit_nanos(counter.account, counter.period) if counter.unit is Unit.USD else None

    def limit_nanos(self, account: str, period: Period) -> int | None:
        bound = self.of(account).get(period)
        return bound.limit_nanos if bound else None

    def limited_periods(self, account: str) -> list[Period]:
        return [period for period, bound in self.of(account).items() if bound.limit_nanos is not None]


async def read_limits(context: OperatorContext) -> BindingLimits:
    return BindingLimits(runtime=await context.store.limits(), environment=context.settings.limits)


async def read_limits_of(context: OperatorContext, account: str) -> BindingLimits:
    """As far as they concern one account or pattern: a store may have 100,000 others."""
    return BindingLimits(runtime=await read_runtime_limits_of(context, account), environment=context.settings.limits)


async def read_runtime_limits_of(context: OperatorContext, account: str) -> RuntimeLimits:
    """The runtime limits of an account or pattern, and of all patterns that stand for it."""
    kinds, subjects = zip(*parts_of(account), strict=True)
    parts = product(*map(parts_standing_for, subjects))
    patterns = dict.fromkeys(account_of("+".join(kinds), "+".join(each)) for each in parts)
    news = await context.store.limit_news(list(patterns), since_version=NO_VERSION)
    return RuntimeLimits(news.version, news.limits)


def runtime_rules(runtime: RuntimeLimits) -> list[LimitRule]:
    """The limits in a store as rules, sorted by account and period."""
    return [
        rule_of(account, period, limit_nanos)
        for (account, period), limit_nanos in sorted(
            runtime.limits.items(), key=lambda item: (item[0][0], period_order(item[0][1]))
        )
    ]
