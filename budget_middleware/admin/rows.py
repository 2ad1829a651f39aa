"""Answers made of operations' rows, and the JSON schemas that describe them."""

import base64
import binascii
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from enum import Enum
from types import NoneType, UnionType
from typing import Any, Final, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from starlette.responses import JSONResponse, Response

from budget_middleware.admin.problems import MEDIA_TYPE, Problem
from budget_middleware.core.units import Amounts, Unit
from budget_middleware.operations.values import Figure, Omission, as_json

_UNITS: Final = "|".join(Unit)
_FIGURE_TEXT: Final = {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?$"}
_CURSOR_CHARS_MAX: Final = 4_000

_Row = TypeVar("_Row")


def answer(value: Any, *, headers: Mapping[str, str] | None = None) -> Response:
    """A row of operations, or whatever holds rows, as every face says it in JSON."""
    return JSONResponse(as_json(value), headers=headers)


def page(items: Sequence[Any], next_: Sequence[Any] | Mapping[str, Any] | None, **more: Any) -> Response:
    """Some items, and where the next ones begin; None where there are no more."""
    return answer({"items": items, "next_cursor": None if next_ is None else pack_cursor(next_), **more})


def page_by_key(
    rows: Sequence[_Row], *, key: Callable[[_Row], tuple[str, str]], cursor: str | None, limit: int
) -> Response:
    """The rows behind the last one of the page before; they are in the order of their keys."""
    if cursor:
        after = tuple(unpack_cursor(cursor, str, str))
        rows = [row for row in rows if key(row) > after]
    items = rows[:limit]
    return page(items, key(items[-1]) if len(items) < len(rows) else None)


def pack_cursor(value: Sequence[Any] | Mapping[str, Any]) -> str:
    text = json.dumps(value, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def unpack_cursor(cursor: str, *kinds: type) -> list[Any]:
    """What a cursor of ours was made of: one value of each type; a Problem for what is none."""
    try:
        padded = cursor[:_CURSOR_CHARS_MAX] + "=" * (-len(cursor) % 4)
        values = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError):
        values = None
    is_ours = isinstance(values, list) and len(values) == len(kinds)
    if not is_ours or any(type(value) is not kind for value, kind in zip(values, kinds, strict=True)):
        raise Problem(422, "cursor: accepted is the next_cursor of an earlier page of the same question")
    assert isinstance(values, list)
    return values


def documented(schema: dict[str, Any], description: str, *statuses: int) -> dict[int | str, dict[str, Any]]:
    """For `responses=` of a route: its answer, and the problems that it may have besides those of every route."""
    problems: dict[int | str, dict[str, Any]] = dict.fromkeys(statuses, PROBLEM)
    return {200: {"description": description, "content": {"application/json": {"schema": schema}}}, **problems}


def page_schema(row: type[Any], **more: Any) -> dict[str, Any]:
    items = {"type": "array", "items": schema_of(row)}
    properties = {"items": items, "next_cursor": {"type": ["string", "null"]}, **more}
    return {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}


def schema_of(type_: Any) -> dict[str, Any]:
    """The schema of what `as_json` makes of a value of a type."""
    origin = get_origin(type_)
    if origin in (Union, UnionType):
        options = [schema_of(each) for each in get_args(type_) if not _is_omitted(each)]
        return options[0] if len(options) == 1 else {"anyOf": options}
    if origin is tuple:
        return {"type": "array", "items": schema_of(get_args(type_)[0])}
    if origin is not None and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": schema_of(get_args(type_)[1])}
    if hasattr(type_, "__dataclass_fields__"):
        return _schema_of_row(type_)
    return _schema_of_value(type_)


def _schema_of_value(type_: Any) -> dict[str, Any]:
    if issubclass(type_, Figure):
        return dict(_FIGURE_TEXT)
    if issubclass(type_, Enum) and issubclass(type_, str):
        return {"type": "string", "enum": [each.value for each in type_]}
    for plain, name in ((bool, "boolean"), (int, "integer"), (float, "number"), (str, "string"), (NoneType, "null")):
        if issubclass(type_, plain):
            return {"type": name}
    return {}


def _schema_of_row(row: type[Any]) -> dict[str, Any]:
    hints = get_type_hints(row)
    properties: dict[str, Any] = {}
    patterns: dict[str, Any] = {}
    required: list[str] = []
    for field in fields(row):
        if not field.metadata.get("is_in_json", True):
            continue
        name, hint = field.name, hints[field.name]
        if _has(hint, Figure) or _has(hint, Amounts):
            # Their names end with their unit, which each row has its own.
            patterns[f"^{name}_({_UNITS})$"] = schema_of(Figure | None if _has(hint, NoneType) else Figure)
            continue
        properties[name] = schema_of(hint)
        if not _has(hint, Omission):
            required.append(name)
    schema = {"type": "object", "title": row.__name__, "properties": properties, "required": required}
    return {**schema, **({"patternProperties": patterns} if patterns else {}), "additionalProperties": False}


def _has(hint: Any, type_: type) -> bool:
    options = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    return any(each is type_ or (type_ is Omission and _is_omitted(each)) for each in options)


def _is_omitted(hint: Any) -> bool:
    return get_origin(hint) is Literal and isinstance(get_args(hint)[0], Omission)


_ERRORS: Final = {"type": "array", "items": {"type": "object", "additionalProperties": {"type": "string"}}}
_PROBLEM_SCHEMA: Final = {
    "type": "object",
    "title": "Problem",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "needs": {"type": "string"},
        "closest": {"type": "array", "items": {"type": "string"}},
        "errors": _ERRORS,
    },
    "required": ["type", "title", "status"],
}
PROBLEM: Final[dict[str, Any]] = {
    "description": "A problem, as RFC 9457 has it.",
    "content": {MEDIA_TYPE: {"schema": _PROBLEM_SCHEMA}},
}
EVERY_ROUTE: Final[dict[int | str, dict[str, Any]]] = dict.fromkeys((400, 401, 403, 413, 422, 429, 500, 503), PROBLEM)
"""What any route may answer besides."""
