"""The script of requests as a function of the server, which takes a third of its time off.

Theory of operation. A call by the script's digest (EVALSHA) works everywhere, and every connection begins with it.
Beside the requests the link offers the server the same text as a library, and calls it once with no verb at all. If
that is answered as it should be, the connection goes on by function (FCALL). If not, whatever the reason is, nothing
changes: the server is too old for functions, an ACL or a proxy forbids them, its memory is full.

A library may go while it is used: FUNCTION FLUSH, a failover to a server that never had it. The right to it may go.
Memory may run out: a function is then refused as a whole, where a script may still give holds back. All of that is
reported before anything is applied, so the verbs are sent once more, by the script, and the library is offered again.
"""

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import hiredis

from budget_middleware.stores.errors import StoreUnavailable
from budget_middleware.stores.redis.scripts import LIBRARY_PREFIX, Script
from budget_middleware.stores.redis.wire import Reply, Wire

_REFUSED = re.compile(r"ERR Function not found|OOM |NOPERM .*'fcall'")


def refuses_function(reply: Reply) -> bool:
    """Whether the server has refused a function as a whole, and might not refuse the script."""
    return isinstance(reply, hiredis.ReplyError) and _REFUSED.match(str(reply)) is not None


async def offer(wire: Wire, script: Script, *, no_verbs: Sequence[str], answer: Reply) -> None:
    """Have the calls of a script on a wire go by function, if a call with ``no_verbs`` gets its ``answer``."""
    with suppress(StoreUnavailable):
        # Most often it is there already, which is an error; what the reply to the call says is all that counts.
        await wire.call("FUNCTION", "LOAD", script.library)
        if await wire.call("FCALL", script.function, *no_verbs) == answer:
            wire.commands[script.digest] = "FCALL", script.function


@dataclass(frozen=True, slots=True)
class Libraries:
    """Which libraries of ours a server has. ``is_used``: that of this version; others are left of other versions."""

    is_used: bool
    others: Sequence[str]
    why_not: str = ""


async def libraries(client: Any, script: Script) -> Libraries:
    """What a server says of functions; it may forbid the question."""
    try:
        await client.execute_command("FUNCTION", "LOAD", script.library)
    except Exception as error:  # noqa: BLE001 - any, of servers and proxies of all kinds
        if "already exists" not in str(error):
            return Libraries(is_used=False, others=(), why_not=" ".join(str(error).split()))
    with suppress(Exception):
        listed = await client.execute_command("FUNCTION", "LIST", "LIBRARYNAME", f"{LIBRARY_PREFIX}*")
        names = sorted(name for name in map(_name_of, listed) if name != script.function)
        return Libraries(is_used=True, others=names)
    return Libraries(is_used=True, others=())


def _name_of(library: Any) -> str:
    """The server describes a library as a map, or as a list of names and values."""
    fields = library if isinstance(library, dict) else dict(zip(library[::2], library[1::2], strict=True))
    return str(fields["library_name"])
