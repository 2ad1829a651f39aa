"""Which limit binds: the highest layer with a rule decides. From that follow the counters that a request claims."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from budget_middleware.core.limits.limits import (
    LIFTED,
    Claim,
    Kinds,
    LimitBook,
    LimitMode,
    Slot,
    SlotTerms,
    Subjects,
    Terms,
    overlay,
    slot_order,
)
from budget_middleware.core.payers.accounts import ABSENT, ANY, GLOBAL, MODEL, account_of, parts_of
from budget_middleware.core.payers.payers import Payers, SinglePayers, single_payers
from budget_middleware.core.periods import PERIODS, Period, PeriodOrder
from budget_middleware.core.units import Unit


class Bound(NamedTuple):
    """What a layer says of a slot of an account, and by which of its patterns.

    The terms are those of LIFTED where it lifts the limit.
    """

    terms: Terms
    layer: str
    pattern: str


def bounds_of(account: str, layers: dict[str, LimitBook]) -> dict[Slot, Bound]:
    """What binds an account, or all that a pattern stands for, and by which of the layers, the highest first."""
    kinds, subjects = zip(*parts_of(account), strict=True)
    bounds: dict[Slot, Bound] = {}
    for layer, book in reversed(layers.items()):
        for pattern, named in book.reaching(kinds, subjects):
            if None in named:
                # Where all is lifted, people are told so of each period of the calendar.
                lifted = {*bounds, *map(Slot, PERIODS)}
                bounds.update(dict.fromkeys(lifted, Bound(LIFTED, layer, pattern)))
            bounds.update({slot: Bound(terms, layer, pattern) for slot, terms in named.items() if slot is not None})
    return dict(sorted(bounds.items(), key=lambda item: slot_order(item[0])))


def claims_for(payers: Payers, *, layers: Sequence[LimitBook], model: str) -> tuple[Claim, ...]:
    """The counters of one request, sorted by account, period and unit; never empty, and money is always counted.

    `payers` holds the encoded subjects of every configured kind, None where the request lacks it; `model` the
    encoded subject of its model, empty if unknown. Of `layers`, highest first, the first with a rule for a slot of an
    account decides it; a lifted limit counts as none.
    """
    each = [_claims_of(single, layers, model) for single in single_payers(payers)]
    return joined_claims(*each) if len(each) > 1 else each[0]


def _claims_of(payers: SinglePayers, layers: Sequence[LimitBook], model: str) -> tuple[Claim, ...]:
    accounts: dict[str, Mapping[Slot, Terms]] = {}
    for kind, subject in payers.items():
        limits = _limits((kind,), (subject or ABSENT,), layers)
        # Who leaves out a subject must not escape the kind's limit: all of them share one account.
        if subject or limits or _limits((kind,), (ANY,), layers):
            accounts[account_of(kind, subject or ABSENT)] = _with_money(limits)
    known = {**payers, MODEL: model}
    for kinds in frozenset().union(*(book.kinds_on_demand for book in layers)):
        subjects = ("",) if kinds == (GLOBAL,) else tuple(known.get(kind) or ABSENT for kind in kinds)
        if limits := _limits(kinds, subjects, layers):
            accounts[account_of("+".join(kinds), "+".join(subjects))] = limits
    if not any(map(_counts_money, accounts.values())):
        accounts[GLOBAL] = _with_money(accounts.get(GLOBAL, {}))
    return tuple(_claims(accounts))


def joined_claims(*claims: Iterable[Claim]) -> tuple[Claim, ...]:
    """The counters of all of them, each once, in their order."""
    by_counter = {(claim.account, claim.period, claim.unit): claim for each in claims for claim in each}
    return tuple(sorted(by_counter.values(), key=_order))


def _order(claim: Claim) -> tuple[str, tuple[PeriodOrder, int, int]]:
    return claim.account, slot_order(Slot(claim.period, claim.unit))


def _limits(kinds: Kinds, subjects: Subjects, layers: Sequence[LimitBook]) -> dict[Slot, Terms]:
    binding = _highest([book.matching(kinds, subjects) for book in layers])
    return {slot: terms for slot, terms in binding.items() if slot is not None and terms.amount is not None}


def _highest(by_layer: Sequence[SlotTerms]) -> SlotTerms:
    """Of what the layers say, the highest first, what decides each slot; also that its limit is lifted."""
    binding: SlotTerms = {}
    for each in reversed(by_layer):
        overlay(binding, each)
    return binding


def _counts_money(limits: Iterable[Slot]) -> bool:
    return any(slot.unit is Unit.USD for slot in limits)


def _with_money(limits: Mapping[Slot, Terms]) -> Mapping[Slot, Terms]:
    """With a counter of money, whatever else is limited: what an account spends is to be seen."""
    return limits if _counts_money(limits) else {**limits, _UNLIMITED: LIFTED}


_UNLIMITED = Slot(Period.MONTH)


def _claims(accounts: Mapping[str, Mapping[Slot, Terms]]) -> Iterator[Claim]:
    """One for each counter: limits that differ in their mode alone are of the same."""
    for account, limits in sorted(accounts.items(), key=itemgetter(0)):
        ordered = sorted(limits, key=slot_order)
        for (period, unit), slots in groupby(ordered, key=itemgetter(0, 1)):
            terms = {slot.mode: limits[slot] for slot in slots}
            amount, alerts, carry, increases = terms.get(LimitMode.ENFORCE, LIFTED)
            soft, shadow = terms.get(LimitMode.SOFT), terms.get(LimitMode.SHADOW)
            yield Claim(account, period, amount, unit, carry, increases, soft, shadow, alerts)
