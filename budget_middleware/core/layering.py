"""Which limit binds: the highest layer with a rule decides. From that follow the counters that a request claims."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import NamedTuple

from budget_middleware.core.accounts import ABSENT, ANY, GLOBAL, MODEL, account_of, parts_of
from budget_middleware.core.limits import Amounts, Claim, Kinds, LimitBook, Subjects
from budget_middleware.core.payers import Payers, SinglePayers, single_payers
from budget_middleware.core.windows import PERIODS, Period


class Bound(NamedTuple):
    """What a layer says of a period of an account; `limit_nanos` is None where it lifts the limit."""

    limit_nanos: int | None
    layer: str


def bounds_of(account: str, layers: Mapping[str, LimitBook]) -> dict[Period, Bound]:
    """What binds an account, or all that a pattern stands for, and by which of the layers, the highest first."""
    kinds, subjects = zip(*parts_of(account), strict=True)
    by_layer = {layer: book.matching(kinds, subjects) for layer, book in layers.items()}
    binding = _highest(tuple(by_layer.values()))
    return {
        period: Bound(binding[period], layer=next(layer for layer, amounts in by_layer.items() if period in amounts))
        for period in PERIODS
        if period in binding
    }


def claims_for(payers: Payers, *, layers: Sequence[LimitBook], model: str) -> tuple[Claim, ...]:
    """The counters of one request, sorted by account and period; never empty.

    `payers` holds the encoded subjects of every configured kind, None where the request lacks it; `model` the
    encoded subject of its model, empty if unknown. Of `layers`, highest first, the first with a rule for an
    account and period decides; a lifted limit counts as none.
    """
    each = [_claims_of(single, layers, model) for single in single_payers(payers)]
    return joined_claims(*each) if len(each) > 1 else each[0]


def _claims_of(payers: SinglePayers, layers: Sequence[LimitBook], model: str) -> tuple[Claim, ...]:
    accounts: dict[str, Mapping[Period, int]] = {}
    for kind, subject in payers.items():
        limits = _limits((kind,), (subject or ABSENT,), layers)
        # Who leaves out a subject must not escape the kind's limit: all of them share one account.
        if subject or limits or _limits((kind,), (ANY,), layers):
            accounts[account_of(kind, subject or ABSENT)] = limits
    known = {**payers, MODEL: model}
    for kinds in frozenset().union(*(book.kinds_on_demand for book in layers)):
        subjects = ("",) if kinds == (GLOBAL,) else tuple(known.get(kind) or ABSENT for kind in kinds)
        if limits := _limits(kinds, subjects, layers):
            accounts[account_of("+".join(kinds), "+".join(subjects))] = limits
    return tuple(_claims(accounts or {GLOBAL: {}}))


def joined_claims(*claims: Iterable[Claim]) -> tuple[Claim, ...]:
    """The counters of all of them, each once, in their order."""
    by_counter = {(claim.account, claim.period): claim for each in claims for claim in each}
    return tuple(sorted(by_counter.values(), key=lambda claim: (claim.account, PERIODS.index(claim.period))))


def _limits(kinds: Kinds, subjects: Subjects, layers: Sequence[LimitBook]) -> dict[Period, int]:
    binding = _highest([book.matching(kinds, subjects) for book in layers])
    return {period: limit_nanos for period, limit_nanos in binding.items() if limit_nanos is not None}


def _highest(by_layer: Sequence[Amounts]) -> Amounts:
    """Of what the layers say, the highest first, what decides each period; also that its limit is lifted."""
    amounts: Amounts = {}
    for each in reversed(by_layer):
        amounts.update(each)
    return amounts


def _claims(accounts: Mapping[str, Mapping[Period, int]]) -> Iterator[Claim]:
    for account, limits in sorted(accounts.items(), key=itemgetter(0)):
        if not limits:
            yield Claim(account, Period.MONTH, None)
        for period in PERIODS:
            if period in limits:
                yield Claim(account, period, limits[period])
