"""Shapes of limit patterns: which kinds a pattern joins, and which of its parts are exact.

A store may hold 100,000 limits, but they have only a handful of shapes. With these a request can name every pattern
that may bind it, and look up just those. As text, the shape of `key+model:*+gpt-4o` is `key+model:*+=`.
"""

from collections.abc import Iterable
from functools import lru_cache
from itertools import combinations, product
from typing import NamedTuple

from budget_middleware.core.accounts import ABSENT, ANY, GLOBAL, MODEL, account_of
from budget_middleware.core.payers import Payers, SinglePayers, single_payers

EXACT = "="
"""In the text of a shape: a part that names one subject. No subject contains it."""

JOINED_MAX = 3
"""`possible_shapes` lists patterns that join at most so many kinds."""


class Shape(NamedTuple):
    """The kinds of a pattern, sorted, and whether each of its parts is exact."""

    kinds: tuple[str, ...]
    is_exact: tuple[bool, ...]


def shape_of(pattern: str) -> str:
    """The text of the shape of a canonical pattern."""
    kinds, _, subjects = pattern.partition(":")
    return f"{kinds}:{'+'.join(ANY if subject == ANY else EXACT for subject in subjects.split('+'))}"


@lru_cache(1_024)
def parse_shape(text: str) -> Shape:
    """The shape that a text stands for; ValueError for what is none."""
    kinds, _, marks = text.partition(":")
    parts = tuple(kinds.split("+")), tuple(marks.split("+"))
    if len(parts[0]) != len(parts[1]) or not set(parts[1]) <= {ANY, EXACT}:
        raise ValueError(f"{text[:80]!r} is not a shape of limits")
    return Shape(parts[0], tuple(mark == EXACT for mark in parts[1]))


@lru_cache(256)
def possible_shapes(kinds: tuple[str, ...]) -> frozenset[Shape]:
    """Every shape that a limit on requests with these kinds and a model can have, up to JOINED_MAX kinds."""
    known = sorted({*kinds, MODEL})
    joined = [names for count in range(1, JOINED_MAX + 1) for names in combinations(known, count)]
    shapes = {Shape(names, exact) for names in joined for exact in product((False, True), repeat=len(names))}
    return frozenset(shapes | {Shape((GLOBAL,), (True,))})


def patterns_for(payers: Payers, *, model: str, shapes: Iterable[Shape]) -> tuple[str, ...]:
    """The patterns of these shapes that may bind a request; ``payers`` and ``model`` as for ``claims_for``."""
    # A compound also binds requests without one of its kinds; an account of one kind exists only with its source.
    reaching = [shape for shape in shapes if len(shape.kinds) > 1 or shape.kinds[0] in {*payers, MODEL, GLOBAL}]
    patterns = (_pattern(shape, {**each, MODEL: model}) for each in single_payers(payers) for shape in reaching)
    return tuple(dict.fromkeys(patterns))


def _pattern(shape: Shape, subjects: SinglePayers) -> str:
    parts = zip(*shape, strict=True)
    return account_of("+".join(shape.kinds), "+".join(_part(kind, subjects) if exact else ANY for kind, exact in parts))


def _part(kind: str, subjects: SinglePayers) -> str:
    return "" if kind == GLOBAL else subjects.get(kind) or ABSENT
