"""Brings a database of Postgres to its schema, once, whoever else tries at the same time."""

from typing import TYPE_CHECKING, Any, Final

from budget_middleware.databases.migrations import (
    CREATE_VERSIONS,
    READ_VERSIONS,
    VERSIONS_TABLE,
    Steps,
    missing_statements,
)
from budget_middleware.databases.postgres.dialing import fault_of

if TYPE_CHECKING:
    from psycopg import AsyncConnection

_LOCK: Final = 0x6275646765743139
"""Of advisory locks that nobody else takes by chance."""

_PATIENCE_MS: Final = 60_000
"""Another worker may be making indexes over much data."""


async def migrate(connection: "AsyncConnection[Any]", component: str, steps: Steps) -> None:
    """Make the tables of a component, or lead them to the last step. DatabaseFault."""
    import psycopg

    try:
        # Without a lock and without the right to create anything: nearly always all is there.
        if await _version(connection, component) == len(steps):
            return
        async with connection.transaction():
            await connection.execute(f"set local statement_timeout = {_PATIENCE_MS}")
            await connection.execute("select pg_advisory_xact_lock(%s)", (_LOCK,))
            await connection.execute(CREATE_VERSIONS)
            for statement in missing_statements(component, steps, version=await _version(connection, component)):
                await connection.execute(statement.encode())
    except psycopg.Error as error:
        raise fault_of(error) from error


async def _version(connection: "AsyncConnection[Any]", component: str) -> int:
    found = await (await connection.execute("select to_regclass(%s) is not null", (VERSIONS_TABLE,))).fetchone()
    if not found or not found[0]:
        return 0
    versions = await (await connection.execute(READ_VERSIONS.encode())).fetchall()
    return int(dict(versions).get(component, 0))
