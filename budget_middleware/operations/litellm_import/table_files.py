"""Reads exports of LiteLLM's database: JSON, JSON lines, CSV with a header, or a dump of PostgreSQL in plain text.

Which table a file holds is told by the file's name (`LiteLLM_TeamTable.csv`), or else by its columns.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

from budget_middleware.operations.litellm_import.values import Row

_LONGEST_CELL: Final = 100_000_000
_SIGNS: Final[tuple[tuple[str, Callable[[frozenset[str]], bool]], ...]] = (
    ("VerificationToken", lambda names: "token" in names),
    ("TagTable", lambda names: "tag_name" in names),
    ("ProjectTable", lambda names: {"project_id", "project_alias"} <= names),
    ("OrganizationTable", lambda names: "organization_alias" in names),
    ("OrganizationMembership", lambda names: {"organization_id", "user_id", "budget_id"} <= names),
    ("TeamTable", lambda names: "team_id" in names and bool({"team_alias", "members_with_roles"} & names)),
    ("TeamMembership", lambda names: {"team_id", "user_id", "budget_id"} <= names),
    ("UserTable", lambda names: "user_id" in names and bool({"user_email", "user_role", "max_budget"} & names)),
    ("EndUserTable", lambda names: {"user_id", "budget_id"} <= names),
    ("BudgetTable", lambda names: {"budget_id", "max_budget"} <= names),
    ("Config", lambda names: {"param_name", "param_value"} <= names),
)
"""Which columns tell a table; the first that fits."""

# `EndUserTable` ends as `UserTable` does. Any file may be called a config, and be none.
_NAMES: Final = {
    f"litellm{name.lower()}" if name == "Config" else name.lower(): name
    for name in sorted((name for name, _ in _SIGNS), key=len, reverse=True)
}
_IN_DUMP: Final = re.compile(r'^COPY (?:\S+\.)?"?(\w+)"? \(([^)]*)\) FROM stdin;$')
_ESCAPES: Final = {"t": "\t", "n": "\n", "r": "\r", "b": "\b", "f": "\f", "v": "\v"}

Table = tuple[str, tuple[Row, ...]]


def table_named(text: str) -> str | None:
    """The table that a name is of: LiteLLM's own, in any case, with or without its prefix."""
    bare = re.sub(r"[^a-z]", "", text.lower())
    return next((table for name, table in _NAMES.items() if name in bare), None)


def read_json(file: str, text: str) -> tuple[Mapping[str, Any] | None, list[Table]]:
    """The tables of a JSON text; or, of an object whose members are no tables, the object itself."""
    documents = list(_documents(file, text))
    first = documents[0]
    if len(documents) == 1 and isinstance(first, dict) and _is_object_of_tables(first):
        members = [(name, rows) for name, rows in first.items() if isinstance(rows, list)]
        return None, [_table(file, table_named(name) or _bare(name), rows) for name, rows in members]
    is_row = table_named(file) or (isinstance(first, dict) and _table_with(set(first)))
    if len(documents) == 1 and isinstance(first, dict) and not is_row:
        return first, []
    rows = first if len(documents) == 1 and isinstance(first, list) else documents
    return None, [_table(file, table_named(file), rows)]


def read_csv(file: str, text: str) -> list[Table]:
    csv.field_size_limit(_LONGEST_CELL)
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""), restkey="", strict=True)
        rows = list(reader)
    except csv.Error as error:
        raise ValueError(f"{file}: this is not CSV: {error}") from None
    if any("" in row or None in row.values() for row in rows):
        raise ValueError(f"{file}: a row has more or fewer cells than the header; accepted is CSV as COPY writes it")
    table = table_named(file) or _table_with(set(reader.fieldnames or ()))
    return [_table(file, table, [_with_nulls(row) for row in rows])]


def is_dump(text: str) -> bool:
    return re.search(r"^COPY .* FROM stdin;$", text, flags=re.MULTILINE) is not None


def read_dump(file: str, text: str) -> list[Table]:
    """The tables of `pg_dump --data-only`, whose rows are lines with tabs."""
    tables = []
    # Not splitlines(): cells may hold what else it takes for the end of a line.
    lines = iter(text.split("\n"))
    for line in lines:
        if (begun := _IN_DUMP.match(line.rstrip("\r"))) is not None:
            names = [name.strip().strip('"') for name in begun[2].split(",")]
            rows = list(_dumped_rows(lines))
            if any(len(cells) != len(names) for cells in rows):
                raise ValueError(f"{file}: a row of {begun[1][:80]} has more or fewer cells than columns")
            dumped = [dict(zip(names, cells, strict=True)) for cells in rows]
            tables.append(_table(file, table_named(begun[1]) or _bare(begun[1]), dumped))
    return tables


def _dumped_rows(lines: Iterator[str]) -> Iterator[list[str | None]]:
    for line in lines:
        if line.rstrip("\r") == "\\.":
            return
        yield [None if cell == "\\N" else _unescaped(cell) for cell in line.split("\t")]


def _unescaped(cell: str) -> str:
    return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[1]), cell)


def _documents(file: str, text: str) -> Iterator[Any]:
    """One JSON document, or one in each line."""
    try:
        document = json.loads(text, parse_float=Decimal)
    except (ValueError, RecursionError):
        yield from _lines(file, text)
    else:
        yield document


def _lines(file: str, text: str) -> Iterator[Any]:
    for at, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            yield json.loads(line, parse_float=Decimal)
        except (ValueError, RecursionError):
            raise ValueError(f"{file}: line {at} is not JSON") from None


def _is_object_of_tables(document: Mapping[str, Any]) -> bool:
    return any(isinstance(rows, list) and table_named(name) for name, rows in document.items())


def _table(file: str, table: str | None, rows: Iterable[Any]) -> Table:
    found = list(rows)
    if not all(isinstance(row, dict) for row in found):
        raise ValueError(f"{file}: accepted are rows that are objects, with the names of the columns")
    name = table or _table_with({column for row in found[:1] for column in row})
    if name is None:
        raise ValueError(
            f"{file}: its columns are those of no table that is read; name it for one, such as LiteLLM_TeamTable.csv"
        )
    return name, tuple(Row(f"{file}: {name} row {at}", row) for at, row in enumerate(found, start=1))


def _table_with(columns: set[str]) -> str | None:
    names = frozenset(columns)
    return next((table for table, is_of in _SIGNS if is_of(names)), None)


def _bare(name: str) -> str:
    return re.sub(r"^litellm_", "", name, flags=re.IGNORECASE)[:80]


def _with_nulls(row: Mapping[str, str]) -> dict[str, Any]:
    return {name: value or None for name, value in row.items()}
