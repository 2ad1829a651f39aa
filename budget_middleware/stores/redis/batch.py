"""The verbs of one script call, and the futures of their callers."""

import asyncio
import random
from collections.abc import Callable
from typing import Any, TypeGuard

from budget_middleware.stores.errors import StoreRefused
from budget_middleware.stores.redis.wire import Reply

VerbReply = list[Any]
"""What the script answers to one verb."""


class Batch:
    """Verbs that go in one call, in this order; each succeeds or fails on its own.

    To a wire, a batch is the waiter for the reply. It passes the reply to ``on_reply``, which distributes it to the
    waiting verbs (`share`), or fails all of them (`set_exception`).
    """

    __slots__ = ("_on_reply", "is_repeatable", "token", "waiting", "words")

    def __init__(self, on_reply: Callable[["Batch", Reply], None]) -> None:
        # Fresh each time: a store that is emptied twice must not get the same generation again, and no reply to
        # another call may ever be taken for this one's. Nobody gains by guessing it.
        self.token = f"{random.getrandbits(64):016x}"
        self.words: list[str] = []
        self.waiting: list[asyncio.Future[VerbReply]] = []
        self._on_reply = on_reply
        self.is_repeatable = True

    def add(self, verb: tuple[str, ...]) -> "asyncio.Future[VerbReply]":
        """One more verb: its name, its trace and its own arguments. StoreRefused for text that cannot be sent.

        The future is the caller's, to cancel at will; it raises StoreUnavailable or StoreRefused.
        """
        try:
            # Looked at here, where it spoils nobody else's.
            "".join(verb).encode()
        except UnicodeEncodeError as error:
            raise StoreRefused(str(error)) from error
        self.words += (str(len(verb)), *verb)
        waiting: asyncio.Future[VerbReply] = asyncio.get_running_loop().create_future()
        self.waiting.append(waiting)
        return waiting

    def is_answered_by(self, reply: Reply) -> TypeGuard[list[Any]]:
        """Whether a reply is that to this very call: one for each verb, and then its token."""
        return isinstance(reply, list) and len(reply) == len(self.waiting) + 1 and reply[-1] == self.token

    def share(self, reply: list[Any], *, refusal: Callable[[str], StoreRefused]) -> None:
        """Give each who waits the reply to its verb; ``refusal`` makes the error that an error reply stands for."""
        # Not strict: behind the replies stands the token.
        for waiting, verb_reply in zip(self.waiting, reply, strict=False):
            if waiting.done():
                continue
            if isinstance(verb_reply, list):
                waiting.set_result(verb_reply)
            else:
                waiting.set_exception(refusal(str(verb_reply)))

    # The protocol of a wire's waiter.

    def done(self) -> bool:
        """Whether no verb waits any more."""
        for waiting in self.waiting:  # noqa: SIM110 - asked for each reply, and a generator costs more than the loop
            if not waiting.done():
                return False
        return True

    def set_result(self, reply: Reply) -> None:
        self._on_reply(self, reply)

    def set_exception(self, error: Exception) -> None:
        for waiting in self.waiting:
            if not waiting.done():
                # Each its own: a traceback grows with every await that an exception passes.
                waiting.set_exception(type(error)(*error.args))
