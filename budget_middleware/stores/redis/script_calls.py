"""Calls a script on whichever server has the ledger: by its digest where the server knows it, else with its text.

A node that does not serve the ledger's slot refuses the call as a whole, so it may be made again: at once where the
node names another one, and after a pause while the slot is being moved.
"""

import asyncio
from collections.abc import Callable

import hiredis

from budget_middleware.stores.errors import StoreUnavailable
from budget_middleware.stores.redis.place import Place
from budget_middleware.stores.redis.scripts import Script
from budget_middleware.stores.redis.wire import Reply, Wire

REPEATED_AFTER = 0.05
"""Of the time-out: so long a call waits whose slot is being moved."""

_Send = Callable[..., "asyncio.Future[Reply]"]


class ScriptCalls:
    """The calls of one ledger. ``on_text``: called with a wire on which a script of requests was sent whole."""

    def __init__(self, place: Place, *, on_text: Callable[[Wire, Script], None]) -> None:
        self._place = place
        self._on_text = on_text

    async def reply_to(self, script: Script, words: tuple[str, ...]) -> Reply:
        """An error of the server is a reply. StoreUnavailable where the slot is on the way for a whole time-out."""
        loop, timeout_s = asyncio.get_running_loop(), self._place.topology.timeout_s
        give_up_s = loop.time() + timeout_s
        while self._place.is_elsewhere(reply := await self._reply_on(await self._place.wire(), script, words)):
            if loop.time() >= give_up_s:
                raise StoreUnavailable(f"the ledger is being moved to another node ({reply})")
            if not self._place.redirect(reply):
                await asyncio.sleep(REPEATED_AFTER * timeout_s)
        return reply

    async def _reply_on(self, wire: Wire, script: Script, words: tuple[str, ...]) -> Reply:
        call: _Send = self._place.topology.replication.call if script.is_replicated else Wire.call
        if script.digest in wire.commands:
            reply = await call(wire, "EVALSHA", script.digest, *words)
            if not is_unknown_script(reply):
                return reply
        # Later calls on this wire find the script known.
        wire.commands[script.digest] = "EVALSHA", script.digest
        reply_to_text = call(wire, "EVAL", script.text, *words)
        self._on_text(wire, script)
        return await reply_to_text


def is_unknown_script(reply: Reply) -> bool:
    """Whether the server was asked by the digest of a script that it has not: its cache may have been flushed."""
    return isinstance(reply, hiredis.ReplyError) and str(reply).startswith("NOSCRIPT")
