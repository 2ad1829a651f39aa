"""Error replies that mean that this server cannot do the work, each with its cause and the fix for an operator."""

import re
from dataclasses import dataclass
from typing import Final

from redis import exceptions

from budget_middleware.stores.errors import WrongServer


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a server cannot do the work. ``is_elsewhere``: another may have taken its place, so look it up again."""

    cause: str
    fix: str
    is_elsewhere: bool = True


_REPLICA: Final = Fault("a read-only replica", "point BUDGET_STORE_URL at the primary, or at its Sentinels")
_CLUSTER: Final = Fault(
    "a cluster node that does not own the keys of BUDGET_NAMESPACE",
    "name the cluster: BUDGET_STORE_URL=redis+cluster://HOST:PORT",
)
_RIGHTS: Final = Fault(
    "the user of BUDGET_STORE_URL lacks rights",
    "grant them with ACL SETUSER, for example"
    " ~{BUDGET_NAMESPACE}:* &{BUDGET_NAMESPACE}:* +@all -@dangerous +info +role",
)
_PASSWORD: Final = Fault("the server wants another password", "correct user and password in BUDGET_STORE_URL")
_NO_SCRIPTS: Final = Fault(
    "it does not know a command that is needed: perhaps a Sentinel, or not Redis 6.2 or Valkey 7.2",
    "point BUDGET_STORE_URL at a Redis or Valkey server with Lua scripts",
)

_BY_CODE: Final = {
    "READONLY": _REPLICA,
    "MASTERDOWN": Fault("a replica that has lost its primary", "point BUDGET_STORE_URL at the primary"),
    "LOADING": Fault("the server still loads its data", "wait until it has"),
    "MOVED": _CLUSTER,
    "ASK": _CLUSTER,
    "TRYAGAIN": Fault("the keys of BUDGET_NAMESPACE are being moved to another node", "wait until they are there"),
    "CROSSSLOT": _CLUSTER,
    "CLUSTERDOWN": Fault(
        "the cluster does not serve the keys of BUDGET_NAMESPACE",
        "see CLUSTER INFO: a primary is lost, or slots are not assigned",
    ),
    "NOPERM": _RIGHTS,
    "NOAUTH": _PASSWORD,
    "WRONGPASS": _PASSWORD,
    "OOM": Fault("the server has no memory left", "raise maxmemory, and keep maxmemory-policy noeviction", False),
    "MISCONF": Fault("the server cannot save to its disk", "free the disk, or see `INFO persistence`", False),
    "NOREPLICAS": Fault(
        "the server has too few replicas to write", "start them, or lower min-replicas-to-write", False
    ),
    "BUSY": Fault("the server is blocked by a script", "SCRIPT KILL the other script", False),
}
# A code begins an error, or stands behind a dash in a script's report of one before Redis 7.
_CODE: Final = re.compile(r"(?:^|-)(?P<code>[A-Z]+)\b")
_PHRASES: Final = (
    (re.compile(r"(?i)unknown (?:redis )?command"), _NO_SCRIPTS),
    (re.compile(r"(?i)acl failure in script|user executing the script"), _RIGHTS),
    (re.compile(r"(?i)can't write against a read only replica"), _REPLICA),
    (re.compile(r"(?i)command not allowed when used memory"), _BY_CODE["OOM"]),
)
# redis-py takes the code off an error, and keeps it in the class.
_BY_CLASS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (exceptions.ReadOnlyError, "READONLY"),
    (exceptions.MasterDownError, "MASTERDOWN"),
    (exceptions.MovedError, "MOVED"),
    (exceptions.AskError, "TRYAGAIN"),
    (exceptions.TryAgainError, "TRYAGAIN"),
    (exceptions.ClusterDownError, "CLUSTERDOWN"),
    (exceptions.NoPermissionError, "NOPERM"),
    (exceptions.AuthenticationError, "NOAUTH"),
    (exceptions.OutOfMemoryError, "OOM"),
)


def fault_in(text: str) -> Fault | None:
    """What an error reply says of its server; None where it only refuses this one call."""
    match = _CODE.search(text)
    if match is not None and (fault := _BY_CODE.get(match["code"])):
        return fault
    return next((fault for phrase, fault in _PHRASES if phrase.search(text)), None)


def fault_of(error: Exception) -> Fault | None:
    """The same of an error that redis-py raised."""
    code = next((code for kind, code in _BY_CLASS if isinstance(error, kind)), "")
    return fault_in(f"{code} {error}" if code else str(error))


def fault_of_role(role: object) -> Fault | None:
    """What a reply to ROLE says; None if the server is a primary, or does not say."""
    match role:
        case ["slave", *_]:
            return _REPLICA
        case ["sentinel", *_]:
            return Fault("a Sentinel", "name it as one: BUDGET_STORE_URL=redis+sentinel://HOST:PORT/SERVICE")
        case _:
            return None


def wrong_server(reply: str, fault: Fault) -> WrongServer:
    """The error to raise for a reply."""
    return WrongServer(" ".join(reply.split()), fault.cause, fault.fix)
