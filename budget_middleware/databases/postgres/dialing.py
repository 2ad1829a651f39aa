"""Connects to Postgres as a URL says: to the server among several that takes writes, within a time-out."""

import asyncio
import importlib.util
import math
import os
import re
import socket
from collections.abc import Coroutine
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

from budget_middleware.databases.errors import DatabaseAway, DatabaseFault
from budget_middleware.databases.postgres.faults import StandbyFault, fault_of_state
from budget_middleware.databases.urls import options_of

if TYPE_CHECKING:
    from psycopg import AsyncConnection

_T = TypeVar("_T")

ACCEPTED: Final = "accepted: postgresql://USER:PASSWORD@HOST:PORT/NAME"
EXTRA: Final = 'pip install "budget-middleware[postgres]"'

LEAST_VERSION: Final = 13
CHECK_SERVER: Final = "`pg_isready` tells whether a server takes connections there"

ACCEPTED_OPTIONS: Final = (
    "application_name",
    "channel_binding",
    "connect_timeout",
    "dbname",
    "gssencmode",
    "host",
    "hostaddr",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "load_balance_hosts",
    "options",
    "passfile",
    "password",
    "port",
    "require_auth",
    "sslcert",
    "sslcrl",
    "sslkey",
    "sslmode",
    "sslnegotiation",
    "sslpassword",
    "sslrootcert",
    "target_session_attrs",
    "tcp_user_timeout",
    "user",
)
"""Options of libpq that do no harm here."""


def check_url(url: str) -> None:
    """ValueError, in one line and without a password, for a URL that no connection can be made with."""
    for name in options_of(url):
        if name not in ACCEPTED_OPTIONS:
            raise ValueError(f"the option {name[:40]!r} is not known; accepted are {', '.join(ACCEPTED_OPTIONS)}")
    if re.fullmatch(r"postgres(ql)?", urlsplit(url).scheme) is None:
        raise ValueError(ACCEPTED)
    # Looked for before the import: a driver that is there and fails is another fault.
    if importlib.util.find_spec("psycopg") is None:
        raise ValueError(f"the Postgres driver is not installed: {EXTRA}")
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    try:
        conninfo_to_dict(url)
    except psycopg.Error:
        # The driver's own words may quote a part of the password.
        raise ValueError(f"{ACCEPTED}, with %XX for other characters") from None


async def connect(url: str, *, timeout_s: float, for_reading: bool = False) -> "AsyncConnection[Any]":
    """A connection on which each statement is a transaction of its own, unless a statement begins one.

    ``timeout_s`` bounds connecting and, at the server, each statement and each pause within a transaction: a process
    that stands still must not keep the others from what it has locked. DatabaseFault, DatabaseAway.
    """
    import psycopg

    options: dict[str, Any] = {"application_name": "budget_middleware", "target_session_attrs": "read-write"}
    if for_reading:
        del options["target_session_attrs"]
    named = {name: value for name, value in options.items() if name not in options_of(url)}
    until_s = asyncio.get_running_loop().time() + timeout_s
    try:
        async with asyncio.timeout_at(until_s):
            connection = await psycopg.AsyncConnection.connect(url, autocommit=True, **named)
        await answered(connection, _set_up(connection, timeout_s=timeout_s), until_s=until_s)
    except TimeoutError as error:
        raise DatabaseAway(f"no connection within {timeout_s:g} s", CHECK_SERVER) from error
    except psycopg.Error as error:
        raise fault_of(error) from error
    return connection


async def answered(connection: "AsyncConnection[Any]", work: Coroutine[Any, Any, _T], *, until_s: float) -> _T:
    """What work on a connection comes to; TimeoutError where it takes until then, by the clock of the event loop.

    What fails ends the connection. The work is never cancelled: the driver would ask the server to cancel it too, and
    wait for that.
    """
    working = asyncio.ensure_future(work)
    try:
        async with asyncio.timeout_at(until_s if until_s < math.inf else None):
            return await asyncio.shield(working)
    except BaseException:
        _shut_down(connection)
        working.add_done_callback(partial(_finish, connection))
        raise


def _shut_down(connection: "AsyncConnection[Any]") -> None:
    if not connection.closed:
        with suppress(OSError), socket.socket(fileno=os.dup(connection.fileno())) as same:
            same.shutdown(socket.SHUT_RDWR)


def _finish(connection: "AsyncConnection[Any]", worked: "asyncio.Task[Any]") -> None:
    if not worked.cancelled():
        # Whoever asked for it knows why it failed, or does not wait any more.
        worked.exception()
    connection.pgconn.finish()


async def _set_up(connection: "AsyncConnection[Any]", *, timeout_s: float) -> None:
    _refuse_old(connection.info.server_version // 10_000)
    await connection.execute(
        "select set_config('statement_timeout', %(ms)s, false),"
        " set_config('idle_in_transaction_session_timeout', %(ms)s, false), set_config('jit', 'off', false)",
        {"ms": str(max(1, round(timeout_s * 1000)))},
    )


def _refuse_old(version: int) -> None:
    if version < LEAST_VERSION:
        raise DatabaseFault(f"Postgres {version} is too old", f"upgrade it to {LEAST_VERSION} or later")


_PHRASES: Final = (
    ("password authentication failed", "28P01"),
    ("no password supplied", "28P01"),
    ("no pg_hba.conf entry", "28000"),
    ("too many clients", "53300"),
    ("remaining connection slots", "53300"),
    ("the database system is", "57P03"),
)
"""SQLSTATEs by what a server answers while a connection is made, for which libpq gives none."""
_PATTERNS: Final = (
    (re.compile(r'role ".*" does not exist'), "28000"),
    (re.compile(r'database ".*" does not exist'), "3D000"),
    (re.compile(r'too many connections for (role|database) ".*"'), "53300"),
    (re.compile(r'permission denied for database ".*"'), "42501"),
)


def fault_of(error: Exception) -> DatabaseFault:
    """What an error of the driver means."""
    text = str(error)
    state = getattr(error, "sqlstate", None) or _state_in(text)
    if state:
        return fault_of_state(state, text)
    if "session is read-only" in text or "server is in hot standby mode" in text:
        read_only_transaction = fault_of_state("25006", "")
        return StandbyFault(*read_only_transaction.args[:2], reply=text)
    return DatabaseAway("no connection", CHECK_SERVER, reply=text)


def _state_in(text: str) -> str:
    known = [state for phrase, state in _PHRASES if phrase in text]
    return next(iter(known + [state for pattern, state in _PATTERNS if pattern.search(text)]), "")
