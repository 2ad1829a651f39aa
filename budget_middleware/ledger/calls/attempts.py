"""A verb whose caller waits for it: repeated until the store has decided it, or until the store is silent for too long.

Three things may keep a verb undecided, and they are not the same:

- The store gives no answer, or is the wrong server: that is an outage, StoreUnavailable or StoreRefused.
- The store answers, and asks for newer limits, windows or sweeps: that goes on as long as it takes, at most
  `UNDECIDED_S` and `UNDECIDED_ANSWERS`. It is never an outage, since the store answers. Beyond that: StoreUndecided.
- This worker is late: the time-out stands still while its event loop does, and a store that sees its own connections
  ends it only where they are silent, see `shared_timeout`.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from budget_middleware.core.answers import Answer
from budget_middleware.core.statuses import TRANSIENT
from budget_middleware.shared_timeout import SharedTimeout
from budget_middleware.stores.errors import StoreUnavailable, StoreUndecided, WrongServer

FIRST_PAUSE_S = 0.02

UNDECIDED_S = 5.0
"""For how long a store may go on asking for newer limits or windows."""

UNDECIDED_ANSWERS = 10
"""And how often at least: a late worker may have waited for long before it got the first answer."""

_log = logging.getLogger("budget_middleware")


async def until_decided(attempt: Callable[[], Awaitable[Answer]], *, time_limit: SharedTimeout) -> Answer:
    """The store's decision, which no transient status is. ``attempt`` must name the same id every time.

    Raises StoreUnavailable when the store was silent for the time-out, and then nobody knows whether an attempt was
    applied; WrongServer when it answered for so long that it cannot do the work; StoreUndecided; any other StoreRefused
    at once, for the store will not think otherwise in so short a time.
    """
    started_s = time.monotonic()
    pause_s, n_undecided = FIRST_PAUSE_S, 0
    try:
        with time_limit.timeout() as wait:
            while True:
                try:
                    answer = await attempt()
                except (StoreUnavailable, WrongServer) as error:
                    if wait.left_s <= pause_s:
                        raise
                    _log.debug("no answer, tried again: %s", error)
                    await asyncio.sleep(pause_s)
                    pause_s *= 2
                else:
                    if answer.status not in TRANSIENT:
                        return answer
                    n_undecided += 1
                    if n_undecided >= UNDECIDED_ANSWERS and time.monotonic() - started_s >= UNDECIDED_S:
                        raise StoreUndecided(f"undecided after {UNDECIDED_S:g} s: {answer.status}")
                    # The store answers, so this is no outage. Let others run meanwhile: a store in memory never waits.
                    wait.renew()
                    await asyncio.sleep(0)
    except TimeoutError as error:
        raise StoreUnavailable(f"no answer within {time_limit.timeout_s:g} s") from error
