"""Shapes of limit patterns: which kinds a pattern joins, and what each of its parts stands for.

A store may hold 100,000 limits, but they have only a handful of shapes. With these a request can name every pattern
that may bind it, and look up just those. As text, the shape of `key+model:*+gpt-4o` is `key+model:*+=`, and that of
`team:search/ads/*` is `team://*`: two segments before the star. A version that does not know such a mark leaves its
shape out, and so the limits of that shape.
"""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import combinations, product
from typing import NamedTuple

from budget_middleware.core.limits.patterns import EXACT, Marks, mark_of, part_reaching, segments_of
from budget_middleware.core.payers.accounts import ABSENT, ANY, GLOBAL, MODEL, PREFIX_SEGMENTS_MAX, account_of
from budget_middleware.core.payers.payers import Payers, SinglePayers, each_of, single_payers

_ONE = "="
"""In the text of a shape: a part that names one subject. No subject contains it."""

_MARK = re.compile(rf"=|/{{0,{PREFIX_SEGMENTS_MAX}}}\*")

JOINED_MAX = 3
"""`possible_shapes` lists patterns that join at most so many kinds."""


class Shape(NamedTuple):
    """The kinds of a pattern, sorted, and the mark of each of its parts."""

    kinds: tuple[str, ...]
    marks: Marks


def shape_of(pattern: str) -> str:
    """The text of the shape of a canonical pattern."""
    kinds, _, subjects = pattern.partition(":")
    marks = map(mark_of, subjects.split("+"))
    return f"{kinds}:{'+'.join(_ONE if mark == EXACT else '/' * mark + ANY for mark in marks)}"


@lru_cache(1_024)
def parse_shape(text: str) -> Shape:
    """The shape that a text stands for; ValueError for what is none."""
    kinds, _, marks = text.partition(":")
    parts = tuple(kinds.split("+")), tuple(marks.split("+"))
    if len(parts[0]) != len(parts[1]) or not all(map(_MARK.fullmatch, parts[1])):
        raise ValueError(f"{text[:80]!r} is not a shape of limits")
    return Shape(parts[0], tuple(EXACT if mark == _ONE else len(mark) - 1 for mark in parts[1]))


def possible_shapes(payers: Payers, *, model: str) -> frozenset[Shape]:
    """Every shape that a limit on a request with these payers and a model can have, up to JOINED_MAX kinds."""
    segments = {kind: max(segments_of(each or ABSENT) for each in each_of(found)) for kind, found in payers.items()}
    return _shapes_of(tuple(sorted({**segments, MODEL: segments_of(model)}.items())))


@lru_cache(256)
def _shapes_of(segments: tuple[tuple[str, int], ...]) -> frozenset[Shape]:
    """Of the kinds of requests, of each with the most segments that a part before its star can have."""
    joined = (of_kinds for count in range(1, JOINED_MAX + 1) for of_kinds in combinations(segments, count))
    shapes = {
        Shape(tuple(kind for kind, _ in of_kinds), marks)
        for of_kinds in joined
        for marks in product(*((*range(most + 1), EXACT) for _, most in of_kinds))
    }
    return frozenset(shapes | {Shape((GLOBAL,), (EXACT,))})


def patterns_for(payers: Payers, *, model: str, shapes: Iterable[Shape]) -> tuple[str, ...]:
    """The patterns of these shapes that may bind a request; ``payers`` and ``model`` as for ``claims_for``."""
    # A compound also binds requests without one of its kinds; an account of one kind exists only with its source.
    known = {*payers, MODEL, GLOBAL}
    reaching = [shape for shape in shapes if len(shape.kinds) > 1 or shape.kinds[0] in known]
    return tuple(dict.fromkeys(_patterns(single_payers(payers), model, reaching)))


def _patterns(payers: Iterable[SinglePayers], model: str, shapes: Iterable[Shape]) -> Iterator[str]:
    for each in payers:
        subjects = {**each, MODEL: model}
        for kinds, marks in shapes:
            parts = [part_reaching(subjects.get(kind) or ABSENT, mark) for kind, mark in zip(kinds, marks, strict=True)]
            if kinds == (GLOBAL,):
                yield GLOBAL
            elif all(parts):
                yield account_of("+".join(kinds), "+".join(parts))
