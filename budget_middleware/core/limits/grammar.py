"""The grammar of limits: reads their texts.

An entry is ``ACCOUNT=AMOUNT[UNIT]/PERIOD[!MODE...]``, ``ACCOUNT=Ninflight[!MODE...]`` or ``ACCOUNT=none``. Each piece
of it carries the column at which it stands in its line, so that an error points at what is wrong.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple, Never

from budget_middleware.core.limits.limits import LIFTED, MAX_FIGURE, LimitMode, LimitRule, Slot, SlotTerms, Terms
from budget_middleware.core.limits.texts import NONE
from budget_middleware.core.money import nanos_from_usd
from budget_middleware.core.payers.accounts import MASK, is_like_token, masked, parse_pattern
from budget_middleware.core.periods import ACCEPTED_PERIODS, Period, Rolling, Total
from budget_middleware.core.units import Unit

ACCEPTED_LIMITS = "AMOUNT[UNIT]/PERIOD, Ninflight and none, each with !MODE behind it"
MODES_ACCEPTED = "!soft, !shadow, !alert=50,80,100 and !carry=50%"

_UNITS = ", ".join(Unit)
_AMOUNT = re.compile(rf"({NONE}|[+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)\s*(.*)", re.DOTALL)
_FIGURE_DIGITS = len(str(MAX_FIGURE))
# A token may have `=` in it: what stands behind the first is its rest, unless it belongs to a mode.
_EQUALS_OF_MODES = re.compile(r"!\s*(alert|carry)\s*=")


class _WrongPiece(ValueError):
    """What is wrong at a column, and what is accepted there."""

    def __init__(self, column: int, reason: str) -> None:
        super().__init__(reason)
        self.column = column


class _Piece(NamedTuple):
    """A part of a line without the blanks around it, and its column, from 1."""

    text: str
    column: int

    @property
    def end(self) -> int:
        return self.column + len(self.text)

    def partition(self, separator: str) -> "tuple[_Piece, _Piece, _Piece]":
        """As of a text; what stands before, the separator, and what stands behind."""
        before, found, after = self.text.partition(separator)
        found_at = self.column + len(before)
        return _piece(before, self.column), _Piece(found, found_at), _piece(after, found_at + len(found))

    def split(self, separator: str) -> "Iterator[_Piece]":
        column = self.column
        for part in self.text.split(separator):
            yield _piece(part, column)
            column += len(part) + len(separator)

    def refuse(self, reason: str) -> Never:
        shown = MASK if is_like_token(self.text) else self.text[:40]
        raise _WrongPiece(self.column, f"{shown!r} {reason}")


def _piece(text: str, column: int) -> _Piece:
    stripped = text.lstrip()
    return _Piece(stripped.rstrip(), column + len(text) - len(stripped))


def parse_limits(text: str) -> tuple[LimitRule, ...]:
    """Read `key=10/day; key+model:*+gpt-4o=200000tokens/minute!soft`, in the order written.

    Entries end with `;` or the line; `#` begins a comment. ValueError, in one line, that names the wrong
    entry, the column (and the line of several) and what is accepted there.
    """
    rules: dict[tuple[tuple[str, ...], tuple[str, ...], Slot | None], LimitRule] = {}
    has_lines = len(text.splitlines()) > 1
    for line, entry in _entries(text):
        where = f"line {line}, column" if has_lines else "column"
        try:
            rule = _rule(entry)
            if rules.setdefault((rule.kinds, rule.subjects, rule.slot), rule) != rule:
                _refuse_contradiction(entry)
        except _WrongPiece as wrong:
            raise ValueError(f"limit {_shown_entry(entry.text)!r}, {where} {wrong.column}: {wrong}") from None
    return tuple(rules.values())


def parse_amounts(text: str) -> SlotTerms:
    """Read the limits of one account, `10/day; 8inflight; 100/month!soft` or `none`; ValueError as for parse_limits."""
    named: SlotTerms = {}
    for _, entry in _entries(text):
        try:
            slot, terms = _limit(entry)
            if named.setdefault(slot, terms) != terms:
                _refuse_contradiction(entry)
        except _WrongPiece as wrong:
            raise ValueError(f"limit {_shown_amount(entry.text)!r}, column {wrong.column}: {wrong}") from None
    return named


def _refuse_contradiction(entry: _Piece) -> Never:
    raise _WrongPiece(
        entry.column,
        "it contradicts an earlier entry; accepted is one for each period, unit and mode, with its alerts and carry",
    )


def _entries(text: str) -> Iterator[tuple[int, _Piece]]:
    """The entries, each with the number of its line."""
    for number, line in enumerate(text.splitlines(), start=1):
        for entry in _Piece(line.partition("#")[0], 1).split(";"):
            if entry.text:
                yield number, entry


def masked_limits(text: str) -> str:
    """A limit text as an error may show it: its entries without what may be a token."""
    return "; ".join(_shown_entry(entry.text) for _, entry in _entries(text))


def _shown_entry(entry: str) -> str:
    pattern, equals, amount = entry.partition("=")
    return f"{masked(pattern.strip())}{equals}{_shown_amount(amount)}"


def _shown_amount(text: str) -> str:
    return MASK if _may_have_token(text) or is_like_token(text) else text[:80]


def _may_have_token(text: str) -> bool:
    return "=" in _EQUALS_OF_MODES.sub("", text)


def _rule(entry: _Piece) -> LimitRule:
    pattern, equals, limit = entry.partition("=")
    try:
        kinds, subjects = zip(*parse_pattern(pattern.text), strict=True)
    except ValueError as error:
        raise _WrongPiece(pattern.column, str(error)) from None
    if not equals.text:
        raise _WrongPiece(pattern.end, "'=' is missing; accepted is =AMOUNT[UNIT]/PERIOD, =Ninflight or =none")
    return LimitRule(kinds, subjects, *_limit(limit))


def _limit(entry: _Piece) -> tuple[Slot | None, Terms]:
    before_modes, comma, _ = entry.partition("!")[0].partition(",")
    if comma.text:
        reason = "',' separates no limits and no digits; accepted is ';' between limits, and 1000 for a thousand"
        raise _WrongPiece(before_modes.end, reason)
    if _may_have_token(entry.text):
        raise _WrongPiece(entry.column, f"it is not a limit; accepted are {ACCEPTED_LIMITS}")
    if entry.text == NONE:
        return None, LIFTED
    counted, *modes = entry.split("!")
    figure, slash, period_text = counted.partition("/")
    amount, unit = _amount(figure, has_period=bool(slash.text))
    period = _period(slash, period_text, unit, end=counted.end)
    mode, alerts, carry = _modes(modes, period, unit)
    if amount is None and (alerts or carry):
        modes[0].refuse("has no meaning for a limit that is lifted; accepted are none!soft and none!shadow")
    return Slot(period, unit, mode), Terms(amount, alerts, carry)


def _amount(figure: _Piece, *, has_period: bool) -> tuple[int | None, Unit]:
    match = _AMOUNT.fullmatch(figure.text)
    if match is None:
        figure.refuse(f"is not an amount; accepted are {ACCEPTED_LIMITS}, such as 0.25/day and 200000tokens/minute")
    number, unit_text = _Piece(match[1], figure.column), _Piece(match[2], figure.column + match.start(2))
    if unit_text.text not in (*Unit, ""):
        unit_text.refuse(f"is not a unit; accepted are {_UNITS}; without a unit it is USD")
    unit = Unit(unit_text.text or Unit.USD)
    if number.text == NONE and not has_period and unit is not Unit.INFLIGHT:
        _refuse_no_period(figure.end)
    if number.text[0] in "+-":
        number.refuse("is not an amount; accepted is one from 0 upwards, without a sign")
    return (None if number.text == NONE else _figure(number, unit)), unit


def _figure(number: _Piece, unit: Unit) -> int:
    if unit is Unit.USD:
        try:
            return nanos_from_usd(number.text)
        except ValueError as error:
            raise _WrongPiece(number.column, str(error)) from None
    if not number.text.isdecimal():
        number.refuse(f"is not an amount of {unit}; accepted is a whole number")
    if len(number.text.lstrip("0")) > _FIGURE_DIGITS or int(number.text) > MAX_FIGURE:
        number.refuse(f"is too large an amount; accepted is at most {MAX_FIGURE} {unit}")
    return int(number.text)


def _period(slash: _Piece, text: _Piece, unit: Unit, *, end: int) -> Period:
    if unit is Unit.INFLIGHT:
        if slash.text:
            slash.refuse("is too much: what is in flight has no period; accepted is Ninflight, such as 8inflight")
        return Period.TOTAL
    if not text.text:
        _refuse_no_period(end)
    try:
        return Period(text.text)
    except ValueError:
        text.refuse(f"is not a period; accepted are {ACCEPTED_PERIODS}")


def _refuse_no_period(column: int) -> Never:
    raise _WrongPiece(column, f"the period is missing; accepted are {ACCEPTED_LIMITS}")


def _modes(modes: list[_Piece], period: Period, unit: Unit) -> tuple[LimitMode, tuple[int, ...], int]:
    """The mode, the thresholds of alerts and what is carried over, in percent."""
    mode, alerts, carry = LimitMode.ENFORCE, tuple[int, ...](), 0
    named: set[str] = set()
    for each in modes:
        name, equals, value = each.partition("=")
        key = "mode" if name.text in _MODES else name.text
        if key in named:
            each.refuse(f"is too much: one is there already; accepted are {MODES_ACCEPTED}, each once")
        named.add(key)
        if name.text in _MODES and not equals.text:
            mode = LimitMode(name.text)
        elif name.text == "alert" and equals.text:
            alerts = tuple(sorted({_percent(percent, "alert=50,80,100") for percent in value.split(",")}))
        elif name.text == "carry" and equals.text:
            carry = _percent(value._replace(text=value.text.removesuffix("%")), "carry=50%")
        else:
            each.refuse(f"is not a mode; accepted are {MODES_ACCEPTED}")
    if carry:
        _require_carry(modes, mode, period, unit)
    return mode, alerts, carry


_MODES = (LimitMode.SOFT, LimitMode.SHADOW)


def _require_carry(modes: list[_Piece], mode: LimitMode, period: Period, unit: Unit) -> None:
    carried = next(each for each in modes if each.text.startswith("carry"))
    if mode is not LimitMode.ENFORCE:
        carried.refuse(f"goes with a limit that is enforced; accepted is to leave out either it or !{mode}")
    if unit is Unit.INFLIGHT or not _has_predecessors(period):
        carried.refuse("needs a period that follows another; accepted are those of the calendar, such as month")


def _has_predecessors(period: Period) -> bool:
    """Whether a window follows another: a total has no other, and rolling ones overlap."""
    return not isinstance(period.rule, Rolling | Total)


def _percent(piece: _Piece, example: str) -> int:
    if not piece.text.isdecimal() or len(piece.text) > 3 or not 1 <= int(piece.text) <= 100:
        piece.refuse(f"is not a percentage; accepted is !{example}, each a whole number from 1 to 100")
    return int(piece.text)
