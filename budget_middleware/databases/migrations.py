"""The schema of a database, made by numbered steps of plain SQL.

Theory of operation. Step n leads from version n - 1 to version n; a step that was released is never changed, a new one
is added. The database has the version that it is at, in a table of a row for each component: a ledger and a history
may share a database, and each has steps of its own. All missing steps and the new number are one transaction, which
begins with a lock: of two workers that start together the second finds nothing to do.

A database that a newer version of this package has led further is refused: nobody knows what its columns mean.
"""

from collections.abc import Sequence
from typing import Final

from budget_middleware.databases.errors import DatabaseFault

Steps = Sequence[Sequence[str]]
"""The statements of each step. Both SQLite and Postgres understand them."""

VERSIONS_TABLE: Final = "budget_schema"

CREATE_VERSIONS: Final = (
    f"create table if not exists {VERSIONS_TABLE} (component text primary key, version bigint not null)"
)
READ_VERSIONS: Final = f"select component, version from {VERSIONS_TABLE}"


class NewerSchema(DatabaseFault):
    """A newer version of this package made the tables."""

    def __init__(self, component: str, version: int, *, known: int) -> None:
        super().__init__(
            f"the tables of {component} were made by a newer version of budget_middleware",
            "upgrade budget_middleware",
            reply=f"schema {version}; this one knows up to {known}",
        )


def missing_statements(component: str, steps: Steps, *, version: int) -> list[str]:
    """What leads from a version (0: nothing is there) to that of the last step, and notes it. NewerSchema."""
    if version > len(steps):
        raise NewerSchema(component, version, known=len(steps))
    if version == len(steps):
        return []
    # Component and version are ours, so they may stand in the text; both drivers have other marks for parameters.
    note = (
        f"insert into {VERSIONS_TABLE} values ('{component}', {len(steps)})"
        f" on conflict (component) do update set version = excluded.version"
    )
    return [*(statement for step in steps[version:] for statement in step), note]
