"""What an error of Postgres means to its operator: the cause and the fix, by SQLSTATE."""

from typing import Final

from budget_middleware.databases.errors import DatabaseAway, DatabaseFault


class StandbyFault(DatabaseFault):
    """A server that only lets itself be read: another one may have its place by now."""


class TablesMissing(DatabaseFault):
    """A database without our tables: another one may have been put in its place."""


_PASSWORD: Final = (
    "the server does not let this user in",
    "correct user and password in the URL, or the server's pg_hba.conf",
)
# SQLSTATE -> cause and fix of what somebody must mend: trying again does not help.
_FAULTS: Final = {
    "28P01": _PASSWORD,
    "28000": _PASSWORD,
    "3D000": ("there is no such database", "create it: createdb NAME, or correct the name in the URL"),
    "42501": (
        "the user of the URL lacks rights",
        "grant them, for example GRANT CREATE, USAGE ON SCHEMA public, or own the tables",
    ),
    "3F000": ("there is no schema to create tables in", "create one that the user's search_path names"),
    "53100": ("the disk of the database is full", "free space on it"),
    "53200": ("the server has no memory left", "give it more, or lower max_connections"),
    "58P01": ("the server misses a file of its own", "look into the server's log; restore a backup"),
    "XX001": ("the database is damaged", "look into the server's log; restore a backup"),
    "XX002": ("an index of the database is damaged", "look into the server's log; REINDEX it, or restore a backup"),
}
_STANDBY: Final = (
    "a read-only standby",
    "name all servers: postgresql://HOST1,HOST2/NAME, and the one that takes writes is found",
)
_TABLES: Final = ("the tables are not there any more", "restore a backup, or restart to make them anew")
# SQLSTATE -> cause and fix of what passes by itself: the store counts as away, and is tried again.
_AWAY: Final = {
    "53300": (
        "the server has no connection left",
        "raise max_connections; each worker needs up to three",
    ),
    "57014": ("the server took longer than the time-out", "see what holds locks: pg_stat_activity"),
    "55P03": ("the server took longer than the time-out", "see what holds locks: pg_stat_activity"),
    "57P03": ("the server starts or stops", "wait until it has"),
}
_AWAY_CLASSES: Final = ("08", "57P", "40", "25P")
"""Classes of states that pass too: a lost connection, a shutdown, a transaction that met another or lasted too long."""


def fault_of_state(state: str, text: str) -> DatabaseFault:
    """The error for a reply with this SQLSTATE."""
    reply = " ".join(text.split())
    if state == "25006":
        return StandbyFault(*_STANDBY, reply=reply)
    if state in {"42P01", "42703"}:
        return TablesMissing(*_TABLES, reply=reply)
    if (words := _FAULTS.get(state)) is not None:
        return DatabaseFault(*words, reply=reply)
    if (words := _AWAY.get(state)) is not None:
        return DatabaseAway(*words, reply=reply)
    if state.startswith(_AWAY_CLASSES):
        return DatabaseAway("the connection ended", "see the server's log", reply=reply)
    return DatabaseFault(f"Postgres refused a statement (SQLSTATE {state or 'unknown'})", "report it", reply=reply)
