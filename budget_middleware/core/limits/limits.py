"""Limits: which amounts bind which account, in which unit and mode, and which counters a request claims."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal, NamedTuple

from budget_middleware.core.fast import FastStrEnum
from budget_middleware.core.limits.patterns import Marks, mark_of, parts_reaching, specificity
from budget_middleware.core.money import MAX_NANOS
from budget_middleware.core.payers.accounts import GLOBAL, MODEL, account_of, names_raw_key, parts_of
from budget_middleware.core.periods import Period, PeriodOrder, period_order
from budget_middleware.core.units import PLACES, Unit

MAX_FIGURE = MAX_NANOS
"""Of every unit: Lua compares doubles."""

Kinds = tuple[str, ...]
Subjects = tuple[str, ...]


class LimitMode(FastStrEnum):
    """What a limit does to a request that goes over it."""

    ENFORCE = "enforce"  # Refuses it.
    SOFT = "soft"  # Admits it, and warns.
    SHADOW = "shadow"  # Admits it, and records what it would have refused.


class Slot(NamedTuple):
    """What an account can have one limit of: the limits of one counter differ in their mode."""

    period: Period
    unit: Unit = Unit.USD
    mode: LimitMode = LimitMode.ENFORCE


def slot_order(slot: Slot) -> tuple[PeriodOrder, int, int]:
    """Sorts the slots of an account: the shortest period first, and money before other units."""
    return period_order(slot.period), PLACES[slot.unit], _MODE_PLACES[slot.mode]


_MODE_PLACES = {mode: place for place, mode in enumerate(LimitMode)}


class Increase(NamedTuple):
    """What a limit is raised by until a time of the store."""

    amount: int
    until_ms: int


class Terms(NamedTuple):
    """A limit in figures of its unit; an ``amount`` of None lifts it.

    ``alerts`` are the percents of it at which spending is told, ascending; ``carry`` is how many percent of what a
    window has not used the next one may use besides.
    """

    amount: int | None
    alerts: tuple[int, ...] = ()
    carry: int = 0
    increases: tuple[Increase, ...] = ()

    def amount_at(self, time_ms: int) -> int | None:
        return increased(self.amount, self.increases, time_ms)

    def increases_at(self, time_ms: int) -> Iterator[Increase]:
        """Those that have not lapsed."""
        return (each for each in self.increases if time_ms < each.until_ms)


LIFTED = Terms(None)

SlotTerms = dict[Slot | None, Terms]
"""What is said of each slot. Where None is one of them, every slot that is not named is lifted."""


def increased(amount: int | None, increases: Iterable[Increase], time_ms: int) -> int | None:
    """A limit with those of its increases that have not lapsed."""
    if amount is None:
        return None
    return min(amount + sum(each.amount for each in increases if time_ms < each.until_ms), MAX_FIGURE)


class Missing(Enum):
    """The answer of a book that has no rule, which is not the answer that a limit is lifted."""

    MISSING = "missing"


MISSING: Final = Missing.MISSING


@dataclass(frozen=True, slots=True)
class LimitRule:
    """One entry of a limit text: kinds, sorted, and their subjects, where `*` stands for any.

    Where ``slot`` is None it lifts every limit that no rule for the same subjects names.
    """

    kinds: Kinds
    subjects: Subjects
    slot: Slot | None
    terms: Terms

    @property
    def pattern(self) -> str:
        return account_of("+".join(self.kinds), "+".join(self.subjects))


class Claim(NamedTuple):
    """One counter of a request, its window not yet chosen, and the limits of it, in its unit.

    ``limit`` is the one that is enforced, None where nothing binds the counter; ``carry``, ``increases`` and ``alerts``
    are its terms.
    """

    account: str
    period: Period
    limit: int | None
    unit: Unit = Unit.USD
    carry: int = 0
    increases: tuple[Increase, ...] = ()
    soft: Terms | None = None
    shadow: Terms | None = None
    alerts: tuple[int, ...] = ()

    @property
    def all_increases(self) -> Iterator[Increase]:
        """Those of each of its limits."""
        yield from self.increases
        for terms in (self.soft, self.shadow):
            yield from terms.increases if terms else ()


def rule_of(pattern: str, slot: Slot | None, terms: Terms) -> LimitRule:
    """The rule that a limit on a canonical pattern is."""
    kinds, subjects = zip(*parts_of(pattern), strict=True)
    return LimitRule(kinds, subjects, slot, terms)


def names_no_key(rule: LimitRule) -> bool:
    """Whether the rule is on a key that is no hash, perhaps on a token itself: such a limit never binds."""
    return names_raw_key(zip(rule.kinds, rule.subjects, strict=True))


class LimitBook:
    """The rules of one layer, indexed; of several that reach a slot of an account the most specific decides.

    That is the exact one, then the one with more exact parts, then that with more or longer prefixes: see `patterns`.
    """

    def __init__(self, rules: Iterable[LimitRule]) -> None:
        named: dict[Kinds, dict[Subjects, SlotTerms]] = {}
        for rule in rules:
            of_subjects = named.setdefault(rule.kinds, {}).setdefault(rule.subjects, {})
            of_subjects[rule.slot] = rule.terms
        self._tables = {kinds: _tables(patterns) for kinds, patterns in named.items()}
        self.kinds: frozenset[Kinds] = frozenset(named)
        # Their accounts exist only where a limit names them; claims_for asks for these at every request.
        self.kinds_on_demand = frozenset(kinds for kinds in named if len(kinds) > 1 or kinds[0] in (MODEL, GLOBAL))

    def terms(self, account: str, slot: Slot) -> Terms | Literal[Missing.MISSING]:
        """The account's limit of a slot, LIFTED where it is lifted, MISSING where no rule reaches it."""
        found = self.slots_of(account)
        return found.get(slot) or (LIFTED if None in found else MISSING)

    def slots_of(self, account: str) -> SlotTerms:
        """What the book says about each slot of an account; one that no rule reaches is missing."""
        kinds, subjects = zip(*parts_of(account), strict=True)
        return self.matching(kinds, subjects)

    def reaching(self, kinds: Kinds, subjects: Subjects) -> Iterator[tuple[str, SlotTerms]]:
        """The patterns that reach an account and what each says about its slots, the one that decides last."""
        for marks, table in self._tables.get(kinds, ()):
            parts = parts_reaching(subjects, marks)
            if parts in table:
                yield account_of("+".join(kinds), "+".join(parts)), table[parts]

    def matching(self, kinds: Kinds, subjects: Subjects) -> SlotTerms:
        """As `slots_of`, for an account already taken apart."""
        found: SlotTerms = {}
        for marks, table in self._tables.get(kinds, ()):
            if named := table.get(parts_reaching(subjects, marks)):
                overlay(found, named)
        return found


def overlay(below: SlotTerms, above: Mapping[Slot | None, Terms]) -> None:
    """Let what is above decide the slots that it names, and all of them where it lifts all."""
    if None in above:
        below.clear()
    below.update(above)


def _tables(patterns: Mapping[Subjects, SlotTerms]) -> list[tuple[Marks, dict[Subjects, SlotTerms]]]:
    """What is named by the parts of patterns, one table for each shape, the most general first."""
    tables: dict[Marks, dict[Subjects, SlotTerms]] = {}
    for subjects, named in patterns.items():
        tables.setdefault(tuple(map(mark_of, subjects)), {})[subjects] = named
    return sorted(tables.items(), key=lambda item: specificity(item[0]))
