"""Tuples with names that are quick to make."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeVar

_T = TypeVar("_T", bound=tuple[object, ...])


def maker_of(kind: type[_T]) -> Callable[[Iterable[object]], _T]:
    """Makes tuples of a kind from all their fields, in C; the kind itself takes a call of Python for each."""
    return partial(tuple.__new__, kind)
