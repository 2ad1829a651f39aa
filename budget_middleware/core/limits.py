"""Limits: which amounts bind which account, and which counters a request claims."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal, NamedTuple

from budget_middleware.core.accounts import (
    GLOBAL,
    MASK,
    MODEL,
    masked,
    names_raw_key,
    parse_pattern,
    parts_of,
)
from budget_middleware.core.money import nanos_from_usd
from budget_middleware.core.patterns import Marks, mark_of, parts_reaching, specificity
from budget_middleware.core.units import Unit
from budget_middleware.core.windows import PERIODS, Period

Kinds = tuple[str, ...]
Subjects = tuple[str, ...]
Amounts = dict[Period, int | None]
"""The limit of each period in nano-dollars; None lifts it."""


class Missing(Enum):
    """The answer of a book that has no rule, which is not the answer that a limit is lifted."""

    MISSING = "missing"


MISSING: Final = Missing.MISSING


@dataclass(frozen=True, slots=True)
class LimitRule:
    """One entry of a limit text: kinds, sorted, and their subjects, where `*` stands for any.

    A `limit_nanos` of None lifts the limit of `period`, or of every period that no rule for the same
    subjects names where `period` is None too.
    """

    kinds: Kinds
    subjects: Subjects
    period: Period | None
    limit_nanos: int | None


class Claim(NamedTuple):
    """One counter of a request, its window not yet chosen; `limit`, in its unit, is None where nothing binds it."""

    account: str
    period: Period
    limit: int | None
    unit: Unit = Unit.USD


def rule_of(pattern: str, period: Period, limit_nanos: int | None) -> LimitRule:
    """The rule that a limit on a canonical pattern is."""
    kinds, subjects = zip(*parts_of(pattern), strict=True)
    return LimitRule(kinds, subjects, period, limit_nanos)


def names_no_key(rule: LimitRule) -> bool:
    """Whether the rule is on a key that is no hash, perhaps on a token itself: such a limit never binds."""
    return names_raw_key(zip(rule.kinds, rule.subjects, strict=True))


def parse_limits(text: str) -> tuple[LimitRule, ...]:
    """Read `key=10/day; key+model:*+gpt-4o=20/day`, in the order written.

    Entries end with `;` or the line; `#` begins a comment. ValueError, in one line, that names the wrong
    entry and what is accepted.
    """
    rules: dict[tuple[Kinds, Subjects, Period | None], LimitRule] = {}
    for entry in _entries(text):
        rule = _parse_rule(entry)
        if rules.setdefault((rule.kinds, rule.subjects, rule.period), rule) != rule:
            raise ValueError(f"{_shown_entry(entry)!r} contradicts an earlier entry; accepted is one amount a period")
    return tuple(rules.values())


def parse_amounts(text: str) -> Amounts:
    """Read the limits of one account, `10/day; 100/month` or `none`; ValueError as for parse_limits."""
    named: dict[Period | None, int | None] = {}
    for entry in _entries(text):
        period, limit_nanos = _parse_amount(entry)
        if named.setdefault(period, limit_nanos) != limit_nanos:
            raise ValueError(f"{entry[:80]!r} contradicts an earlier entry; accepted is one amount a period")
    return _each_period(named)


def _entries(text: str) -> Iterator[str]:
    for line in text.splitlines():
        yield from filter(None, map(str.strip, line.partition("#")[0].split(";")))


def masked_limits(text: str) -> str:
    """A limit text as an error may show it: its entries without what may be a token."""
    return "; ".join(map(_shown_entry, _entries(text)))


def _shown_entry(entry: str) -> str:
    pattern, equals, amount = entry.partition("=")
    return f"{masked(pattern.strip())}{equals}{_shown_amount(amount)}"


def _shown_amount(text: str) -> str:
    # A token may have `=` in it: what stands behind is its rest.
    return MASK if "=" in text else text[:40]


def _parse_rule(entry: str) -> LimitRule:
    pattern, _, amount = entry.partition("=")
    try:
        kinds, subjects = zip(*parse_pattern(pattern.strip()), strict=True)
        period, limit_nanos = _parse_amount(amount.strip())
    except ValueError as error:
        raise ValueError(f"limit {_shown_entry(entry)!r}: {error}") from None
    return LimitRule(kinds, subjects, period, limit_nanos)


def _parse_amount(text: str) -> tuple[Period | None, int | None]:
    if text == "none":
        return None, None
    amount, _, period = (piece.strip() for piece in text.partition("/"))
    is_read = period in PERIODS and amount != "none" and "=" not in amount
    limit_nanos = nanos_from_usd(amount) if is_read else None
    if "=" in amount or period not in PERIODS or (limit_nanos is not None and limit_nanos < 0):
        raise ValueError(
            f"{_shown_amount(text)!r} is not a limit; accepted are USD/PERIOD from 0 upwards, none/PERIOD and none,"
            f" with a period of {', '.join(PERIODS)}"
        )
    return Period(period), limit_nanos


def _each_period(named: Mapping[Period | None, int | None]) -> Amounts:
    lifted: Amounts = dict.fromkeys(PERIODS) if None in named else {}
    return lifted | {period: limit_nanos for period, limit_nanos in named.items() if period is not None}


class LimitBook:
    """The rules of one layer, indexed; of several that reach an account and period the most specific decides.

    That is the exact one, then the one with more exact parts, then that with more or longer prefixes: see `patterns`.
    """

    def __init__(self, rules: Iterable[LimitRule]) -> None:
        named: dict[Kinds, dict[Subjects, dict[Period | None, int | None]]] = {}
        for rule in rules:
            of_subjects = named.setdefault(rule.kinds, {}).setdefault(rule.subjects, {})
            of_subjects[rule.period] = rule.limit_nanos
        self._tables = {kinds: _tables(patterns) for kinds, patterns in named.items()}
        self.kinds: frozenset[Kinds] = frozenset(named)
        # Their accounts exist only where a limit names them; claims_for asks for these at every request.
        self.kinds_on_demand = frozenset(kinds for kinds in named if len(kinds) > 1 or kinds[0] in (MODEL, GLOBAL))

    def limit(self, account: str, period: Period) -> int | Literal[Missing.MISSING] | None:
        """The account's limit in nano-dollars, None where it is lifted, MISSING where no rule reaches it."""
        return self.amounts(account).get(period, MISSING)

    def amounts(self, account: str) -> Amounts:
        """What the book says about each period of an account; a period that no rule reaches is missing."""
        kinds, subjects = zip(*parts_of(account), strict=True)
        return self.matching(kinds, subjects)

    def matching(self, kinds: Kinds, subjects: Subjects) -> Amounts:
        """As `amounts`, for an account already taken apart."""
        found: Amounts = {}
        for marks, table in self._tables.get(kinds, ()):
            if amounts := table.get(parts_reaching(subjects, marks)):
                found.update(amounts)
        return found


def _tables(
    patterns: Mapping[Subjects, Mapping[Period | None, int | None]],
) -> list[tuple[Marks, dict[Subjects, Amounts]]]:
    """The amounts by the parts of their patterns, one table for each shape, the most general first."""
    tables: dict[Marks, dict[Subjects, Amounts]] = {}
    for subjects, named in patterns.items():
        tables.setdefault(tuple(map(mark_of, subjects)), {})[subjects] = _each_period(named)
    return sorted(tables.items(), key=lambda item: specificity(item[0]))
