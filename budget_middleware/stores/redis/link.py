"""How a store reaches its server: what each call carries, and what becomes of its reply."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import hiredis
from redis import exceptions

from budget_middleware.stores.base import Retention, StoreRefused, StoreUnavailable
from budget_middleware.stores.redis.scripts import Script, key_prefix, lua_text, script_of
from budget_middleware.stores.redis.server import Server
from budget_middleware.stores.redis.wire import Reply

# The server answered, and applied nothing; or what it stores does not parse.
_REFUSALS = (exceptions.ResponseError, exceptions.DataError, ValueError, KeyError)
# No answer, so nobody knows; OSError because redis-py lets some of the socket's own errors through.
_OUTAGES = (exceptions.RedisError, OSError)


class RedisLink:
    """The keys of the ledger ``namespace`` in a Redis or Valkey server (6.2 or later) at ``url``.

    ``timeout_s`` bounds connecting and every reply.
    """

    # The text that defines `store_time_ms()`; a test's store has another, which its clock moves.
    _clock_script = lua_text("_clock")

    def __init__(
        self,
        url: str,
        *,
        namespace: str = "budget",
        timeout_s: float = 0.5,
        retention: Retention | None = None,
    ) -> None:
        self._server = Server(url, timeout_s=timeout_s)
        self._prefix = key_prefix(namespace)
        self._meta = f"{self._prefix}meta"
        kept = retention or Retention()
        self._counters_ms = kept.counters_ms
        self._refusals_max = kept.refusals_max
        self._constants = (
            "1",
            self._meta,
            self._prefix,
            str(kept.remember_ms),
            str(kept.remember_expired_ms),
            str(kept.counters_ms),
            str(kept.journal_max),
        )

    async def aclose(self) -> None:
        """Close this event loop's connections."""
        await self._server.aclose()

    def _client(self) -> Any:
        return self._server.client()

    async def _call(self, name: str, trace: str, *arguments: str) -> list[Any]:
        """What a script tells. StoreUnavailable or StoreRefused."""
        # Fresh each time: a store that is emptied twice must not get the same generation again, and no reply to
        # another call may ever be taken for this one's. Nobody gains by guessing it.
        token = f"{random.getrandbits(64):016x}"
        reply = await self._evaluate(script_of(name, self._clock_script), (*self._constants, token, trace, *arguments))
        if not isinstance(reply, list):
            raise _fault_of(reply)
        if not reply or reply.pop() != token:
            self._server.hang_up("a reply came that belongs to another call")
            raise StoreUnavailable("a reply came that belongs to another call")
        return reply

    async def _evaluate(self, script: Script, words: tuple[str, ...]) -> Reply:
        """The reply to a script; an error of the server is a reply."""
        wire = await self._server.wire()
        try:
            if script.digest in wire.sent_scripts:
                reply = await wire.call("EVALSHA", script.digest, *words)
                if not _is_unknown_script(reply):
                    return reply
            # Whoever calls after this on the same wire will find the script known.
            wire.sent_scripts.add(script.digest)
            return await wire.call("EVAL", script.text, *words)
        except UnicodeEncodeError as error:
            raise StoreRefused(str(error)) from error


def _is_unknown_script(reply: Reply) -> bool:
    """A server whose script cache was flushed has applied nothing."""
    return isinstance(reply, hiredis.ReplyError) and str(reply).startswith("NOSCRIPT")


def _fault_of(reply: Reply) -> Exception:
    # A server that still loads its data will answer soon; whatever else it says, it means.
    if isinstance(reply, hiredis.ReplyError) and not str(reply).startswith("LOADING"):
        return StoreRefused(str(reply))
    return StoreUnavailable(str(reply))


@contextmanager
def outages_named() -> Iterator[None]:
    """Tells what redis-py raises as one of the two errors of the Store protocol."""
    try:
        yield
    except _REFUSALS as error:
        raise StoreRefused(str(error)) from error
    except _OUTAGES as error:
        raise StoreUnavailable(f"{type(error).__name__}: {error}") from error
