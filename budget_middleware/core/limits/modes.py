"""The limits that refuse nothing: which soft and shadow ones a request goes over, and which alerts its ending sets off.

Theory of operation. A store knows enforced limits alone. What else is said of a counter is judged by the worker, from
figures that the store's atomic steps return:

- A request goes over a soft or shadow limit where *spent* and *reserved* are more than it just after the request was
  admitted. That is the rule by which an enforced limit of the same amount would have refused it.
- A step crosses a threshold where it takes *spent* from below it to at or above it. The steps of all workers follow
  one another, each begins where the one before has ended, so exactly one of them crosses it on the way up. Where a
  credit takes *spent* below again, the next way up is another crossing. Of a rolling period the sum falls by itself.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from budget_middleware.core.answers import Answer
from budget_middleware.core.limits.limits import Claim, LimitMode, Terms
from budget_middleware.core.model import Balance, Counter, Rejection, Target
from budget_middleware.core.money import ceil_div
from budget_middleware.core.statuses import Op
from budget_middleware.core.units import Amounts
from budget_middleware.core.windows import has_lapsed, is_rolling


class Threshold(NamedTuple):
    """An alert: ``percent`` of the ``limit`` of a mode, which is ``figure``."""

    figure: int
    percent: int
    limit: int
    mode: LimitMode


class Watch(NamedTuple):
    """What is to be judged of one counter of a request: its soft and its shadow limit (None: none), and its alerts."""

    target: Target
    soft: int | None
    shadow: int | None
    thresholds: tuple[Threshold, ...]


class Passed(NamedTuple):
    """A limit that did not refuse a request which goes over it, and the refusal that it would have been."""

    mode: LimitMode
    rejection: Rejection

    @property
    def used(self) -> int:
        """What is spent and reserved, this request's own included."""
        balance = self.rejection.balance
        return balance.spent + balance.reserved + self.rejection.estimate


class Crossing(NamedTuple):
    """A threshold that *spent* of a counter has just reached."""

    counter: Counter
    threshold: Threshold
    spent: int


def watches_of(claims: Iterable[Claim], targets: Iterable[Target], *, now_ms: int) -> tuple[Watch, ...]:
    """What is to be judged of a request with these claims, whose counters are these targets."""
    return tuple(
        _watch(claim, target, now_ms)
        for claim, target in zip(claims, targets, strict=True)
        if claim.soft or claim.shadow or claim.alerts
    )


def _watch(claim: Claim, target: Target, now_ms: int) -> Watch:
    soft, shadow = (_amount(terms, target, now_ms) for terms in (claim.soft, claim.shadow))
    alerts = (
        (LimitMode.ENFORCE, target.limit, claim.alerts),
        (LimitMode.SOFT, soft, claim.soft.alerts if claim.soft else ()),
        (LimitMode.SHADOW, shadow, claim.shadow.alerts if claim.shadow else ()),
    )
    thresholds = [
        Threshold(ceil_div(limit * percent, 100), percent, limit, mode)
        for mode, limit, percents in alerts
        if limit is not None
        for percent in percents
    ]
    return Watch(target, soft, shadow, tuple(sorted(thresholds)))


def _amount(terms: Terms | None, target: Target, now_ms: int) -> int | None:
    if terms is None or terms.amount is None:
        return None
    return 0 if has_lapsed(target.window) else terms.amount_at(now_ms)


def passed_limits(watches: Iterable[Watch], figures: Mapping[Counter, Balance], *, asked: Amounts) -> list[Passed]:
    """The soft and shadow limits that a request goes over, by the figures just after it was admitted."""
    return [
        Passed(mode, rejection)
        for watch in watches
        if watch.target.counter in figures
        for mode, limit in ((LimitMode.SOFT, watch.soft), (LimitMode.SHADOW, watch.shadow))
        if (rejection := _would_refuse(watch.target, limit, figures[watch.target.counter], asked=asked)) is not None
    ]


def passed_unenforced(
    rejection: Rejection, targets: Iterable[Target], balances: Iterable[Balance], *, asked: Amounts
) -> list[Passed]:
    """As `passed_limits`, where a worker enforces no limit: all that would have refused, not only the one it was told.

    What was carried over into a limit only the store knows, and it says so of the one in the rejection.
    """
    return [
        Passed(LimitMode.ENFORCE, found)
        for target, balance in zip(targets, balances, strict=True)
        if (found := _would_refuse(target, _known_limit(target, rejection), balance, asked=asked)) is not None
    ]


def _known_limit(target: Target, rejection: Rejection) -> int | None:
    if target.counter == rejection.target.counter:
        return rejection.limit
    return None if target.carry else target.limit


def _would_refuse(target: Target, limit: int | None, after: Balance, *, asked: Amounts) -> Rejection | None:
    """The refusal by a limit of such an amount; as of an enforced one, an estimate of 0 is never refused."""
    estimate = asked[target.place]
    if limit is None or not estimate or after.spent + after.reserved <= limit:
        return None
    limited = Target(target.account, target.window, limit, target.unit)
    return Rejection(limited, Balance(after.spent, after.reserved - estimate), estimate)


def crossings(watches: Mapping[Counter, Watch], answer: Answer) -> list[Crossing]:
    """The thresholds that one atomic step of a store has crossed, by the entries that it wrote to the journal.

    Of a rolling period the entries have the figures of one bucket, and what the limit counts only the balances have,
    which a step has for what it was asked for, not for leases that it expired in passing.
    """
    changed: dict[Counter, int] = {}
    after: dict[Counter, int] = {}
    for entry in answer.entries:
        if entry.spent_delta and entry.counter in watches:
            changed[entry.counter] = changed.get(entry.counter, 0) + entry.spent_delta
            after[entry.counter] = entry.spent
    found: list[Crossing] = []
    for counter, delta in changed.items():
        spent = _rolling_sum(counter, answer) if is_rolling(counter.period) else after[counter]
        if spent is not None:
            found += [
                Crossing(counter, threshold, spent)
                for threshold in watches[counter].thresholds
                if spent - delta < threshold.figure <= spent
            ]
    return found


def _rolling_sum(counter: Counter, answer: Answer) -> int | None:
    own = [entry.counter for entry in answer.entries if entry.op is not Op.EXPIRE]
    if counter not in own or len(own) != len(answer.balances):
        return None
    return answer.balances[own.index(counter)].spent
