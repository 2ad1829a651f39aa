"""Why a store did not do what it was asked."""

from typing import Final


class StoreUnavailable(Exception):
    """The store gave no answer: whether it applied the verb is unknown."""


class StoreRefused(Exception):
    """The store answered with an error and applied nothing: a poisoned record, no memory, a read-only replica."""


class StoreAway(StoreRefused):
    """The store has not answered lately, so it was not asked: nothing was applied."""


class StoreUndecided(StoreRefused):
    """The store answers, but goes on asking for newer limits or windows: it is there, and nothing was applied."""


class WrongServer(StoreRefused):
    """What answers is not a store that can do the work: a replica, a full server, a user without rights.

    Nothing was applied. ``cause`` says what it is, ``fix`` what an operator can do about it; one line each.
    """

    def __init__(self, reply: str, cause: str, fix: str) -> None:
        super().__init__(reply, cause, fix)
        self.cause = cause
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.cause} ({self.args[0]}); {self.fix}"


NO_ANSWER: Final = (StoreUnavailable, StoreRefused, TimeoutError)
"""What a call of a store raises that brings no answer in time."""
