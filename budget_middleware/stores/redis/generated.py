"""Inserts constants and tables of Python into the Lua scripts, so that each is defined once.

Theory of operation. What the Lua files do not declare themselves is Python's. Numbers and words take the place of their
names, for a script is set up again by every call, and each local variable that a function refers to costs time there.
Functions, which are quicker to set up than tables, are what Python's tables and rules become; they are declared in
front of the file that uses them first. All of it is looked up where Python has it whenever a script is composed.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet

from budget_middleware.core import model, money, statuses, transitions, windows
from budget_middleware.core.costs import learning
from budget_middleware.core.model import Reservation
from budget_middleware.core.statuses import Op, State, Status
from budget_middleware.core.units import Amounts, Unit
from budget_middleware.stores import base, retention, runtime_limits
from budget_middleware.stores.records import limit_fields, records, shadow_sums
from budget_middleware.stores.redis import keys, replies

_PLAIN = re.compile(r"[ -&(-\[\]-~]*")
_COMMENT = re.compile(r"--.*")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Doubles are exact up to here.
_EXACT_MAX = 2**53

Value = str | int | Mapping[str, "Value"] | AbstractSet[str]


def with_python_constants(files: Iterable[str]) -> str:
    """The text of Lua files, one after the other, with whatever they use of Python's."""
    scalars = {name: literal(value) for name, value in _scalars()} | {
        "HEAD_WORDS": " .. ' ' .. ".join(replies.Head._fields)
    }
    declarations = dict(_declarations())
    inlined: set[str] = set()
    composed: list[str] = []
    for text in files:
        names = set(_NAME.findall(_COMMENT.sub("", text)))
        inlined |= names & scalars.keys()
        declared = [declarations.pop(name) for name in list(declarations) if name in names]
        composed += (*_marked(declared), _NAME.sub(lambda found: scalars.get(found[0], found[0]), text))
    constants = [f"-- {name} = {scalars[name]}" for name in scalars if name in inlined]
    return "\n".join(
        ("-- generated from Python (redis/generated.py), and put in the place of their names:", *constants, *composed)
    )


def _marked(declared: list[str]) -> list[str]:
    return ["-- generated from Python (redis/generated.py):", *declared] if declared else []


def literal(value: Value) -> str:
    """A value as Lua text; a set becomes a table whose values are true."""
    match value:
        case str():
            assert _PLAIN.fullmatch(value), f"{value!r} needs more than quotes"
            return f"'{value}'"
        case int():
            assert -_EXACT_MAX <= value <= _EXACT_MAX, f"{value} is not exact in Lua"
            return str(value).lower()
        case Mapping():
            fields = [f"{name} = {literal(each)}" for name, each in value.items()]
            assert all(map(_NAME.fullmatch, value)), f"{list(value)} are not all names"
            return f"{{{', '.join(fields)}}}"
        case _:
            return literal(dict.fromkeys(sorted(value), True))


def _scalars() -> Iterator[tuple[str, str | int]]:
    yield from ((f"{type(word).__name__.upper()}_{word.name}", str(word)) for word in (*Status, *State, *Op, *Unit))
    yield from (
        (f"KEY_{name}", value) for name, value in vars(keys).items() if isinstance(value, str) and name.isupper()
    )
    yield "SWEPT_PER_VERB", base.SWEPT_PER_VERB
    yield "REPORTED_CHANGES_MAX", runtime_limits.REPORTED_CHANGES_MAX
    yield "FOREVER_MS", windows.FOREVER_MS
    yield "ROLLING_BUCKETS", windows.ROLLING_BUCKETS
    yield "SHORT_WINDOW_S", windows.SHORT_WINDOW_S
    yield "SERIES", model.SERIES
    yield "LONGER_AT_MOST", model.LONGER_AT_MOST
    yield "EXACT", money.MAX_NANOS
    yield "HALF_EXACT", money.MAX_NANOS // 2
    yield "FORMAT", records.FORMAT
    # Lua would make the text anew each time.
    yield "FORMAT_WORD", str(records.FORMAT)
    yield "FULL_OR_INEXACT", min(transitions.FULL, money.MAX_NANOS)
    yield "FULL_DIGITS", _digits_of_power_of_ten(transitions.FULL)
    yield "NO_LIMIT", limit_fields.NO_LIMIT
    yield "LEFT_OUT", shadow_sums.LEFT_OUT
    yield "LIMIT_MORE", runtime_limits.MORE
    yield "N_SUMS", len(learning.Sums._fields)
    yield "MOST_ANSWERS", learning.MOST_ANSWERS
    # Told exactly, and read by Lua as Python reads it.
    yield "LARGEST_SUM", f"{learning.LARGEST_SUM:.17g}"
    yield "FORGETTING", f"{learning.FORGETTING:.17g}"
    yield "LEARNT_MS", base.LEARNT_MS


def _declarations() -> Iterator[tuple[str, str]]:
    yield "KEY_TYPES", f"local KEY_TYPES = {literal(keys.TYPES)}"
    yield "PREVIOUS_TYPES", f"local PREVIOUS_TYPES = {literal(keys.PREVIOUS_TYPES)}"
    yield "PERIODS", f"local PERIODS = {literal(frozenset(map(str, windows.PERIODS)))}"
    with_field = frozenset(map(str, limit_fields.STORED_PERIODS))
    yield "PERIODS_WITH_FIELD", f"local PERIODS_WITH_FIELD = {literal(with_field)}"
    # What a verb answers, and what follows from its answer.
    endings = [((op, _word(state)), _ending(op, state)) for op in _ENDING_OPS for state in _STATES]
    yield _chosen("ending_of(op, state)", endings)
    yield _chosen("extension_of(state)", [(_word(state), status) for state, status in transitions.EXTENSIONS.items()])
    yield _chosen("is_forgotten_early(status)", [(status, True) for status in sorted(retention.FORGOTTEN_EARLY)])
    yield _chosen("books_nothing(status)", [(of, True) for op, of in _journaled() if not statuses.may_book(op, of)])
    # What follows from the state of a reservation; of what is no state nothing does.
    yield _chosen("has_ended(state)", [(state, _has_ended(state)) for state in State])
    yield _figures_of()
    yield from _reservation_text()
    yield _chosen("place_of(unit)", [(unit, place) for place, unit in enumerate(Unit, start=1)])


_ENDING_OPS = (Op.FINALIZE, Op.RELEASE)
_STATES = (None, *State)


def _ending(op: Op, state: State | None) -> Status:
    return transitions.ENDINGS[op, state]


def _word(state: State | None) -> str:
    return str(Status.UNKNOWN if state is None else state)


def _has_ended(state: State) -> bool:
    return all(_ending(op, state) in statuses.RETURNS_RECORDED for op in _ENDING_OPS)


def _journaled() -> Iterator[tuple[Op, Status]]:
    """Which statuses a step of the journal may have, and of which verb it is then."""
    yield from ((Op.RESERVE, Status.RESERVED), (Op.GROW, Status.GROWN), (Op.EXPIRE, Status.EXPIRED))
    yield from ((Op.ADJUST, Status.ADJUSTED), (Op.ADJUST, Status.REPAIRED), (Op.TRANSFER, Status.TRANSFERRED))
    yield from ((op, _ending(op, state)) for op in _ENDING_OPS for state in _STATES)


def _figures_of() -> tuple[str, str]:
    """What a reservation adds to *spent* and *reserved*, as ``Reservation`` has it: which amounts, by its state."""
    names = {0: "''", 1: "record.asked", 2: "record.held", 3: "record.charge", 4: "record.actual"}
    asked, held, charge, actual = (Amounts(number) for number in (1, 2, 3, 4))
    lines: list[str] = []
    for state in State:
        probe = Reservation("", state, (), asked, held, expiry_charge=charge, actual=actual)
        figures = f"{names[probe.booked.usd]}, {names[probe.held.usd]}"
        lines.append(f"if record.state == {literal(state)} then return {figures} end")
    return _function("figures_of(record)", *lines)


def _digits_of_power_of_ten(number: int) -> int:
    digits = len(str(number))
    assert number == 10 ** (digits - 1), f"{number} cannot be told by its digits"
    return digits


def _reservation_text() -> Iterator[tuple[str, str]]:
    """A reservation without anything in its fields, and the text of one: see ``records``."""
    fields = records.RESERVATION_FIELDS
    empty = ", ".join(f"{name} = ''" for name in fields)
    yield _function("new_fields()", f"return {{{empty}}}")
    given = ("id", "key", "state", "targets", "target_list")
    named = ", ".join(f"{name} = {name}" for name in given)
    # With a place for whatever it gets: a table that grows is made again.
    made = f"return {{{named}, more = '', text = false, is_previous = false, {empty}}}"
    yield _function(f"new_reservation({', '.join(given)})", made)
    # What only a hold has needs no look where nothing is held.
    of_ended = [name for name in fields if name not in _OF_HOLDS]
    is_ended = " and ".join(f"record.{name} == ''" for name in fields if name in _OF_HOLDS)
    short = f"if {is_ended} then return {_written(of_ended)} end"
    yield _function("text_of(record, targets)", short, f"return {_written(fields)}")


_OF_HOLDS = frozenset({"held", "seq", "due", "trace"})


def _written(fields: Iterable[str]) -> str:
    # One `..` of all: each one in parentheses would make a text of its own.
    written = " .. ".join(f"(record.{name} == '' and '' or ' {name}=') .. record.{name}" for name in fields)
    return rf"'{records.FORMAT} ' .. record.state .. {written} .. record.more .. '\n' .. targets"


def _chosen(head: str, values: Iterable[tuple[str | tuple[str, ...], str | int]]) -> tuple[str, str]:
    """A function that has a value for some of its arguments, and nil for all others."""
    names = head.partition("(")[2].rstrip(")").split(", ")
    lines: list[str] = []
    for given, value in values:
        words = (given,) if isinstance(given, str) else given
        asked = " and ".join(f"{name} == {literal(word)}" for name, word in zip(names, words, strict=True))
        lines.append(f"if {asked} then return {literal(value)} end")
    return _function(head, *lines)


def _function(head: str, *lines: str) -> tuple[str, str]:
    """Its name and its text."""
    return head.partition("(")[0], "\n".join((f"local function {head}", *(f"  {line}" for line in lines), "end"))
