"""Values that are quick to make, or to look up: enums of text, structs, and tuples with names."""

from collections.abc import Callable, Iterable
from dataclasses import make_dataclass
from enum import StrEnum
from functools import partial
from typing import Any, TypeVar, cast

from msgspec import Struct

_StructT = TypeVar("_StructT", bound=Struct)
_TupleT = TypeVar("_TupleT", bound=tuple[object, ...])


class FastStrEnum(StrEnum):
    """A StrEnum with the hash of its text, made in C: many times as fast as the one that an enum makes in Python."""

    __hash__ = str.__hash__


def like_dataclass(kind: type[_StructT]) -> type[_StructT]:
    """A struct that `replace`, `fields` and `asdict` of dataclasses take too, as type checkers expect them to.

    A struct is made in C: several times as fast as a dataclass that has slots, frozen or not.
    """
    fields = cast("Any", make_dataclass(kind.__name__, kind.__struct_fields__)).__dataclass_fields__
    cast("Any", kind).__dataclass_fields__ = fields
    return kind


def maker_of(kind: type[_TupleT]) -> Callable[[Iterable[object]], _TupleT]:
    """Makes tuples of a kind from all their fields, in C; the kind itself takes a call of Python for each."""
    return partial(tuple.__new__, kind)
