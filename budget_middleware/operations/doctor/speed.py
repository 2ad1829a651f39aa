"""How fast the store answers."""

import time

from budget_middleware.setting_types import redact_url
from budget_middleware.settings import Settings
from budget_middleware.stores.base import Store


async def answers_in(settings: Settings, store: Store) -> str:
    """The store's address, and its speed. StoreUnavailable or StoreRefused as for every call."""
    # The first call opens the file or the connection; only the second one shows its speed.
    await store.head()
    asked_s = time.perf_counter()
    await store.head()
    took_ms = (time.perf_counter() - asked_s) * 1_000
    return f"{redact_url(settings.store_url)} answers in {took_ms:.0f} ms"
