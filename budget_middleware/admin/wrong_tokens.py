"""Bounds how many wrong tokens a client may try, in one worker."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

TRIES: Final = 10
"""So many wrong tokens in a row are looked at."""
TRY_AGAIN_S: Final = 6.0
"""Then one more each so many seconds."""
CLIENTS_MAX: Final = 4_096
"""Clients are hostile input: of so many it is remembered what they tried, those who tried last."""


class TooManyWrongTokens(Exception):
    """A client has to wait until it may try again."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__("too many wrong tokens")
        self.retry_after_s = retry_after_s


class WrongTokens:
    """What each client has used up: a bucket that leaks one try in `TRY_AGAIN_S`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # By client, when its bucket will be empty again.
        self._empty_at: OrderedDict[str, float] = OrderedDict()

    def require_tries(self, client: str) -> None:
        """TooManyWrongTokens where none is left."""
        over_s = self._empty_at.get(client, 0.0) - self._clock() - (TRIES - 1) * TRY_AGAIN_S
        if over_s > 0:
            raise TooManyWrongTokens(over_s)

    def count(self, client: str) -> None:
        """One more wrong token of a client."""
        self._empty_at[client] = max(self._empty_at.pop(client, 0.0), self._clock()) + TRY_AGAIN_S
        if len(self._empty_at) > CLIENTS_MAX:
            self._empty_at.popitem(last=False)
