"""Structs that functions of dataclasses take."""

from dataclasses import asdict, fields, replace

import pytest
from msgspec import Struct

from budget_middleware.core.fast import like_dataclass


@like_dataclass
class Point(Struct, frozen=True, gc=False):
    x: int
    y: int = 2


def test_functions_of_dataclasses_take_it():
    point = replace(Point(1), y=3)
    assert point == Point(1, 3)
    assert [field.name for field in fields(Point)] == ["x", "y"]
    assert asdict(point) == {"x": 1, "y": 3}


def test_it_stays_what_it_is():
    with pytest.raises(AttributeError):
        Point(1).y = 3  # type: ignore[misc]  # That it raises is what is tested.
    assert repr(Point(1)) == "Point(x=1, y=2)"
