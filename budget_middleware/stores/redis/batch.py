"""The verbs of one script call, and who waits for each of them."""

import asyncio
import random
from collections.abc import Callable
from typing import Any, Protocol

import hiredis

from budget_middleware.stores.base import StoreRefused, StoreUnavailable
from budget_middleware.stores.redis.wire import Reply

Told = list[Any]
"""What the store tells of one verb that it did."""


class Sender(Protocol):
    """Who sends batches."""

    def deliver(self, batch: "Batch") -> None:
        """The server does not know the script, so it has applied nothing: send the batch with what it lacks."""
        ...

    def hang_up(self, why: str) -> None:
        """The connection cannot be trusted."""
        ...

    def fault_in(self, text: str) -> StoreRefused:
        """The error that an error reply stands for; the connection to a wrong server is given up."""
        ...


class Batch:
    """Verbs to go in one call, in this order; what becomes of one of them is nothing to the others."""

    __slots__ = ("_sender", "_waiting", "token", "words")

    def __init__(self, sender: Sender) -> None:
        # Fresh each time: a store that is emptied twice must not get the same generation again, and no reply to
        # another call may ever be taken for this one's. Nobody gains by guessing it.
        self.token = f"{random.getrandbits(64):016x}"
        self.words: list[str] = []
        self._waiting: list[asyncio.Future[Told]] = []
        self._sender = sender

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, verb: tuple[str, ...]) -> "asyncio.Future[Told]":
        """One more verb: its name, its trace and its own arguments. StoreRefused for text that cannot be sent.

        The future is the caller's, to cancel at will; it raises StoreUnavailable or StoreRefused.
        """
        try:
            # Looked at here, where it spoils nobody else's.
            "".join(verb).encode()
        except UnicodeEncodeError as error:
            raise StoreRefused(str(error)) from error
        self.words += (str(len(verb)), *verb)
        told: asyncio.Future[Told] = asyncio.get_running_loop().create_future()
        self._waiting.append(told)
        return told

    # What a wire asks of who waits for a reply.

    def done(self) -> bool:
        """Whether nobody waits any more."""
        return all(told.done() for told in self._waiting)

    def set_result(self, reply: Reply) -> None:
        if is_unknown_script(reply):
            self._sender.deliver(self)
        elif isinstance(reply, hiredis.ReplyError):
            refusal = self._sender.fault_in(str(reply))
            self.set_exception(refusal)
        elif not isinstance(reply, list):
            self._fail(lambda: StoreUnavailable(str(reply)))
        elif not reply or reply.pop() != self.token or len(reply) != len(self):
            stray = "a reply came that belongs to another call"
            self._sender.hang_up(stray)
            self._fail(lambda: StoreUnavailable(stray))
        else:
            for told, answer in zip(self._waiting, reply, strict=True):
                if told.done():
                    continue
                if isinstance(answer, list):
                    told.set_result(answer)
                else:
                    told.set_exception(self._sender.fault_in(str(answer)))

    def set_exception(self, error: Exception) -> None:
        self._fail(lambda: type(error)(*error.args))

    def _fail(self, fault: Callable[[], Exception]) -> None:
        for told in self._waiting:
            if not told.done():
                # Each its own: a traceback grows with every await that an exception passes.
                told.set_exception(fault())


def is_unknown_script(reply: Reply) -> bool:
    """Whether the server was asked by the digest of a script that it has not: its cache may have been flushed."""
    return isinstance(reply, hiredis.ReplyError) and str(reply).startswith("NOSCRIPT")
