"""Opens the store that a URL names."""

from budget_middleware.stores.base import Store
from budget_middleware.stores.memory import MemoryStore
from budget_middleware.stores.retention import Retention

MEMORY_URL = "memory://"


def open_store(url: str, *, namespace: str, timeout_s: float, retention: Retention) -> Store:
    """A store for ``memory://``, ``unix://``, ``redis://``, ``redis+sentinel://`` or ``redis+cluster://``, these three
    also with TLS (``rediss``); connects at the first call.

    ValueError, in one line, for a URL that no connection can be made with.
    """
    if url == MEMORY_URL:
        return MemoryStore(retention)
    # Imported here, so that the embedded default starts without a Redis client.
    from budget_middleware.stores.redis import RedisStore

    return RedisStore(url, namespace=namespace, timeout_s=timeout_s, retention=retention)
