"""Brings a database of Postgres to its schema, once, whoever else tries at the same time."""

import asyncio
from typing import TYPE_CHECKING, Any, Final

from budget_middleware.databases.errors import DatabaseAway
from budget_middleware.databases.migrations import (
    CREATE_VERSIONS,
    READ_VERSIONS,
    VERSIONS_TABLE,
    Steps,
    missing_statements,
)
from budget_middleware.databases.postgres.dialing import CHECK_SERVER, answered, fault_of

if TYPE_CHECKING:
    from psycopg import AsyncConnection

_LOCK: Final = 0x6275646765743139
"""Of advisory locks that nobody else takes by chance."""

_PATIENCE_MS: Final = 60_000
"""Another worker may be making indexes over much data."""

LONGEST_S: Final = 600.0
"""For all statements together."""


async def migrate(connection: "AsyncConnection[Any]", component: str, steps: Steps, *, timeout_s: float) -> None:
    """Make the tables of a component, or lead them to the last step. DatabaseFault, and the connection is closed.

    DatabaseAway where a server does not say within ``timeout_s`` how far they are.
    """
    import psycopg

    clock_s = asyncio.get_running_loop().time
    try:
        # Without a lock and without the right to create anything: nearly always all is there.
        version = await answered(connection, _version(connection, component), until_s=clock_s() + timeout_s)
        if version != len(steps):
            await answered(connection, _lead(connection, component, steps), until_s=clock_s() + LONGEST_S)
    except TimeoutError as error:
        raise DatabaseAway("the server does not say how far its tables are", CHECK_SERVER) from error
    except psycopg.Error as error:
        raise fault_of(error) from error


async def _lead(connection: "AsyncConnection[Any]", component: str, steps: Steps) -> None:
    async with connection.transaction():
        await connection.execute(f"set local statement_timeout = {_PATIENCE_MS}")
        await connection.execute("select pg_advisory_xact_lock(%s)", (_LOCK,))
        await connection.execute(CREATE_VERSIONS)
        for statement in missing_statements(component, steps, version=await _version(connection, component)):
            await connection.execute(statement.encode())


async def _version(connection: "AsyncConnection[Any]", component: str) -> int:
    found = await (await connection.execute("select to_regclass(%s) is not null", (VERSIONS_TABLE,))).fetchone()
    if not found or not found[0]:
        return 0
    versions = await (await connection.execute(READ_VERSIONS.encode())).fetchall()
    return int(dict(versions).get(component, 0))
