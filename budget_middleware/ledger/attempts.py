"""A verb whose caller waits for it: repeated, within a time-out, until the store has decided it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from budget_middleware.core.model import Answer
from budget_middleware.ledger.patience import Patience
from budget_middleware.stores.base import StoreUnavailable

FIRST_PAUSE_S = 0.02

_log = logging.getLogger("budget_middleware")


async def until_decided(attempt: Callable[[], Awaitable[Answer]], *, patience: Patience) -> Answer:
    """The store's decision, which no transient status is. ``attempt`` must name the same id every time.

    Raises StoreUnavailable when the patience ends at the latest, and then nobody knows whether an attempt was
    applied; StoreRefused at once, for the store will not think otherwise in so short a time.
    """
    loop = asyncio.get_running_loop()
    pause_s = FIRST_PAUSE_S
    try:
        with patience.timeout() as wait:
            while True:
                try:
                    answer = await attempt()
                except StoreUnavailable as error:
                    if loop.time() + pause_s >= wait.until_s:
                        raise
                    _log.debug("no answer, tried again: %s", error)
                    await asyncio.sleep(pause_s)
                    pause_s *= 2
                else:
                    if not answer.status.is_transient:
                        return answer
                    if loop.time() >= wait.until_s:
                        # A store that answers without ever waiting gives the time-out no chance to tell it.
                        raise StoreUnavailable(f"undecided after {patience.timeout_s:g} s: {answer.status}")
    except TimeoutError as error:
        raise StoreUnavailable(f"no answer within {patience.timeout_s:g} s") from error
