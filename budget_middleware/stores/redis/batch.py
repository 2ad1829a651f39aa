"""The verbs of one script call, and the futures of their callers."""

import asyncio
import os
from collections.abc import Callable
from itertools import islice
from typing import Any

from budget_middleware.stores.errors import StoreRefused
from budget_middleware.stores.redis.wire import Reply

VerbReply = list[Any]
"""What the script answers to one verb: the parts of its text, or a list."""


class Batch:
    """Verbs that go in one call, in this order; each succeeds or fails on its own.

    To a wire, a batch is the waiter for the reply. It gives each verb its part of that. ``refusal`` makes the error
    that a verb's error reply stands for; what is no reply to this very call goes to ``on_other``.
    """

    __slots__ = ("_on_other", "_refusal", "is_repeatable", "token", "waiting", "words")

    def __init__(self, refusal: Callable[[str], StoreRefused], on_other: Callable[["Batch", Reply], None]) -> None:
        # Fresh each time: a store that is emptied twice must not get the same generation again, and no reply to
        # another call may ever be taken for this one's. From the system: it parts texts that callers have a hand in,
        # and whoever sees trace ids, which `random` makes, could reckon what it makes next.
        self.token = os.urandom(8).hex()
        self.words: list[str] = []
        self.waiting: list[asyncio.Future[VerbReply]] = []
        self._refusal = refusal
        self._on_other = on_other
        self.is_repeatable = True

    def add(self, verb: tuple[str, ...], waiting: "asyncio.Future[VerbReply]") -> None:
        """One more verb: its name and settings, its trace and its own arguments.

        StoreRefused for text that cannot be sent. The future gets its reply, StoreUnavailable or StoreRefused; it is
        the caller's, to cancel at will.
        """
        try:
            # Looked at here, where it spoils nobody else's.
            "".join(verb).encode()
        except UnicodeEncodeError as error:
            raise StoreRefused(str(error)) from error
        self.words += (f"{len(verb)} {verb[0]}", *verb[1:])
        self.waiting.append(waiting)

    # The protocol of a wire's waiter.

    def done(self) -> bool:
        """Whether no verb waits any more."""
        return all(waiting.done() for waiting in self.waiting)

    def take_reply(self, reply: Reply) -> None:
        """The reply to the call: that to each verb, and then its token, as `lua/_dispatch.lua` has it."""
        replies = reply.rsplit("=", 1) if isinstance(reply, str) else reply
        if not isinstance(replies, list) or len(replies) <= len(self.waiting) or replies[-1] != self.token:
            self._on_other(self, reply)
            return
        separator, rest = f"+{self.token}", iter(replies)
        for waiting in self.waiting:
            verb_reply = next(rest)
            if isinstance(verb_reply, str) and not verb_reply.startswith("-"):
                verb_reply = verb_reply.split(separator)
                if replies is reply and len(verb_reply) > 2:
                    # In place of its records it says how many of them stand behind it.
                    verb_reply[2:] = islice(rest, int(verb_reply[2]))
            if waiting.done():
                continue
            if isinstance(verb_reply, list):
                waiting.set_result(verb_reply)
            else:
                waiting.set_exception(self._refusal(verb_reply[1:]))

    def fail(self, error: Exception) -> None:
        for waiting in self.waiting:
            if not waiting.done():
                # Each its own: a traceback grows with every await that an exception passes.
                waiting.set_exception(type(error)(*error.args))
