"""The fields and values of the hash of runtime limits, and the rules that they are.

A pattern has at most seven fields. ``pattern|period`` is a limit that is enforced, in USD, of one of six periods:
nano-dollars, or ``-`` where it is lifted. Every version of this package reads these. All other limits of a pattern are
in one field, ``pattern|more``, so that a worker has to look for no more than seven whatever units, windows and modes
there are. Its value has a word for each, in their alphabetical order, with ``&`` between them:

    day|usd|soft=8000000000;alert=50,80&total|inflight|enforce=8

After the slot stands the figure, and what else there is of its terms: ``alert``, ``carry`` and ``plus``, which are
temporary increases (``5000000000@1795012200812``, with commas). Terms of a limit that has a field of its own have a
word without a figure: an older version may change the figure then, and admits no more than the terms allow. ``all=-``
lifts whatever is not named.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from budget_middleware.core.limits.limits import LIFTED, Increase, LimitMode, LimitRule, Slot, SlotTerms, Terms, rule_of
from budget_middleware.core.payers.accounts import canonical_pattern
from budget_middleware.core.units import Unit
from budget_middleware.core.windows import PERIODS, Period
from budget_middleware.stores.runtime_limits import MORE, LimitKey, LimitValue, SlotChanges

NO_LIMIT = "-"
"""Stands for a limit that is lifted."""

STORED_PERIODS = tuple(period for period in PERIODS if period is not Period.MINUTE)
"""Those of which a limit may have a field of its own."""

FIELDS: Final[tuple[str, ...]] = (*STORED_PERIODS, MORE)
"""What a pattern may have, behind the ``|``."""

_ALL = "all"
_FORGOTTEN = ""

# Most are so, and an operator who lists 100,000 of them does not wait for a closer look.
_PLAIN_PATTERN = re.compile(r"key:[0-9a-f]{16}|(?!key:|global:)[a-z][a-z0-9_-]*:[A-Za-z0-9._/@:]{1,200}")


def pack_limit_field(pattern: str, field: str) -> str:
    return f"{pattern}|{field}"


def unpack_limits(fields: Mapping[str, str]) -> tuple[dict[LimitKey, LimitValue], list[str]]:
    """The limits, and the fields that cannot be read: requests look for the canonical form of a pattern only.

    Where only words of a field cannot be read, they stand behind it, and the others bind.
    """
    limits: dict[LimitKey, LimitValue] = {}
    unreadable: list[str] = []
    for field, value in fields.items():
        try:
            key = unpack_limit_field(field)
            limits[key] = unpack_limit_value(key, value)
        except ValueError:
            unreadable.append(field)
        else:
            if key[1] == MORE and (words := unreadable_words(value)):
                unreadable.append(f"{field} {' '.join(words)}")
    return limits, unreadable


def unpack_limit_field(field: str) -> LimitKey:
    """ValueError for what is none."""
    pattern, of_pattern = field.split("|")
    if not _PLAIN_PATTERN.fullmatch(pattern) and canonical_pattern(pattern) != pattern:
        raise ValueError(f"{pattern[:80]!r} is not in its canonical form")
    return pattern, MORE if of_pattern == MORE else Period(of_pattern)


def unpack_limit_value(key: LimitKey, text: str) -> LimitValue:
    """The nano-dollars of a field, None for a limit that is lifted; the words of MORE as they are. ValueError."""
    if key[1] == MORE:
        return text
    return _unpack_figure(text)


def _unpack_figure(word: str) -> int | None:
    if word != NO_LIMIT and not word.isdecimal():
        raise ValueError(f"{word[:40]!r} is no limit")
    return None if word == NO_LIMIT else int(word)


def pack_limit(limit: int | None) -> str:
    return NO_LIMIT if limit is None else str(limit)


def pack_limit_value(value: LimitValue) -> str:
    return value if isinstance(value, str) else pack_limit(value)


def pack_changes(changes: SlotChanges) -> Iterator[tuple[str, str]]:
    """What is to be set of a pattern: fields, and words of MORE (their names have a ``|``); empty to forget.

    A change of the slot None is first, and concerns all of them.
    """
    if None in changes:
        everything = _FORGOTTEN if changes[None] is None else NO_LIMIT
        yield MORE, _FORGOTTEN
        yield _ALL, everything
        yield from ((period, everything) for period in STORED_PERIODS)
    for slot, terms in changes.items():
        if slot is None:
            continue
        if _has_field(slot):
            yield slot.period, _FORGOTTEN if terms is None else pack_limit(terms.amount)
        packed = _FORGOTTEN if terms is None else ";".join(_pack_terms(slot, terms))
        yield _word_name(slot), packed


def changed_fields(more: str, changes: Iterable[tuple[str, str]]) -> dict[str, str]:
    """What the fields become that are set or forgotten (empty), MORE if it changes, as ``lua/limit.lua`` has it."""
    fields: dict[str, str] = {}
    words = {word.partition("=")[0]: word for word in _words(more)}
    for name, value in changes:
        if name in STORED_PERIODS:
            fields[name] = value
        elif name == MORE:
            words = {}
        else:
            words.pop(name, None)
            if value != _FORGOTTEN:
                words[name] = f"{name}={value}"
    changed = "&".join(sorted(words.values()))
    return fields if changed == more else {**fields, MORE: changed}


def _words(more: str) -> list[str]:
    return more.split("&") if more else []


def rules_of(pattern: str, values: Mapping[str, LimitValue]) -> tuple[LimitRule, ...]:
    """The rules that the fields of a pattern are; words that cannot be read are none."""
    more = values.get(MORE)
    named, _ = _unpack_more(more) if isinstance(more, str) else ({}, [])
    limits: SlotTerms = {}
    for period in STORED_PERIODS:
        terms = named.pop(Slot(period), Terms(None))
        amount = values.get(period, MORE)
        if not isinstance(amount, str):
            limits[Slot(period)] = LIFTED if amount is None else terms._replace(amount=amount)
    return tuple(rule_of(pattern, slot, terms) for slot, terms in (limits | named).items())


def unreadable_words(text: str) -> list[str]:
    return _unpack_more(text)[1]


def _unpack_more(text: str) -> tuple[SlotTerms, list[str]]:
    """What the words say, and those that cannot be read."""
    limits: SlotTerms = {}
    unreadable: list[str] = []
    for word in _words(text):
        name, _, terms = word.partition("=")
        try:
            slot = None if name == _ALL else _unpack_slot(name)
            limits[slot] = _unpack_terms(terms, has_figure=slot is None or not _has_field(slot))
        except ValueError:
            unreadable.append(word)
    return limits, unreadable


def _has_field(slot: Slot) -> bool:
    return slot.unit is Unit.USD and slot.mode is LimitMode.ENFORCE and slot.period in STORED_PERIODS


def _word_name(slot: Slot) -> str:
    return "|".join(slot)


def _unpack_slot(name: str) -> Slot:
    period, unit, mode = name.split("|")
    return Slot(Period(period), Unit(unit), LimitMode(mode))


def _pack_terms(slot: Slot, terms: Terms) -> Iterator[str]:
    has_more = terms.alerts or terms.carry or terms.increases
    if not _has_field(slot):
        yield pack_limit(terms.amount)
    elif has_more:
        yield ""
    if terms.alerts:
        yield f"alert={','.join(map(str, terms.alerts))}"
    if terms.carry:
        yield f"carry={terms.carry}"
    if terms.increases:
        yield f"plus={','.join(f'{amount}@{until_ms}' for amount, until_ms in terms.increases)}"


def _unpack_terms(text: str, *, has_figure: bool) -> Terms:
    figure, *more = text.split(";")
    if not has_figure and figure:
        raise ValueError(f"{figure[:40]!r} has a field of its own")
    named = dict(each.split("=") for each in more)
    if not named.keys() <= {"alert", "carry", "plus"}:
        raise ValueError(f"{text[:40]!r} has terms that are not known here")
    return Terms(
        _unpack_figure(figure) if has_figure else None,
        alerts=tuple(map(int, named["alert"].split(","))) if "alert" in named else (),
        carry=int(named.get("carry", 0)),
        increases=tuple(map(_unpack_increase, named["plus"].split(","))) if "plus" in named else (),
    )


def _unpack_increase(text: str) -> Increase:
    amount, until_ms = text.split("@")
    return Increase(int(amount), int(until_ms))
