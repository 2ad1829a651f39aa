"""Opens the store that a URL names."""

from budget_middleware.databases.urls import SQLITE, scheme_of
from budget_middleware.stores.base import Store
from budget_middleware.stores.memory import MemoryStore
from budget_middleware.stores.retention import Retention

MEMORY_URL = "memory://"


def open_store(url: str, *, namespace: str, timeout_s: float, retention: Retention) -> Store:
    """A store for ``memory://``, ``sqlite://``, ``unix://``, ``redis://``, ``redis+sentinel://`` or
    ``redis+cluster://``, these three also with TLS (``rediss``); connects at the first call.

    ValueError, in one line, for a URL that no connection can be made with.
    """
    if url == MEMORY_URL:
        return MemoryStore(retention)
    # Imported here, so that none waits for the client of another.
    if scheme_of(url) == SQLITE:
        from budget_middleware.stores.sql.sqlite_store import SqliteStore

        return SqliteStore(url, namespace=namespace, timeout_s=timeout_s, retention=retention)
    from budget_middleware.stores.redis import RedisStore

    return RedisStore(url, namespace=namespace, timeout_s=timeout_s, retention=retention)
