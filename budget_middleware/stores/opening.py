"""Opens the store that a URL names."""

from budget_middleware.databases.urls import SQLITE, names_database, names_postgres, scheme_of
from budget_middleware.stores.base import Store
from budget_middleware.stores.memory.store import MemoryStore
from budget_middleware.stores.retention import Retention
from budget_middleware.stores.sharded.shard_map import MAIN, ShardMap

MEMORY_URL = "memory://"


def open_store(
    url: str,
    *,
    namespace: str,
    timeout_s: float,
    retention: Retention,
    shards: ShardMap | None = None,
    replicas: int = 0,
) -> Store:
    """A store for ``memory://``, ``sqlite://``, ``postgresql://``, ``unix://``, ``redis://``, ``redis+sentinel://`` or
    ``redis+cluster://``, these three also with TLS (``rediss``); connects at the first call. ``replicas`` are those of
    Redis that acknowledge each write.

    ValueError, in one line, for a URL that no connection can be made with.
    """
    if shards is not None:
        return _open_sharded(
            url, shards, namespace=namespace, timeout_s=timeout_s, retention=retention, replicas=replicas
        )
    if url == MEMORY_URL:
        return MemoryStore(retention)
    # Imported here, so that none waits for the client of another.
    if scheme_of(url) == SQLITE:
        from budget_middleware.stores.sql.sqlite_store import SqliteStore

        return SqliteStore(url, namespace=namespace, timeout_s=timeout_s, retention=retention)
    if names_postgres(url):
        from budget_middleware.stores.sql.postgres_store import PostgresStore

        return PostgresStore(url, namespace=namespace, timeout_s=timeout_s, retention=retention)
    from budget_middleware.stores.redis import RedisStore

    return RedisStore(url, namespace=namespace, timeout_s=timeout_s, retention=retention, replicas=replicas)


def _open_sharded(
    url: str, shards: ShardMap, *, namespace: str, timeout_s: float, retention: Retention, replicas: int
) -> Store:
    """The same over shards, each with a namespace of its own."""
    from budget_middleware.stores.sharded.memory_shard import MemoryShard
    from budget_middleware.stores.sharded.shard_store import ShardStore
    from budget_middleware.stores.sharded.store import ShardedStore

    if url == MEMORY_URL:
        return ShardedStore(shards, lambda _: MemoryShard(retention), retention=retention)
    if names_database(url):
        raise ValueError("BUDGET_SHARD_BY is accepted with Redis only: a database is one shard")
    from budget_middleware.stores.redis.shard import RedisShard
    from budget_middleware.stores.redis.topology import Topology

    topology = Topology(url, timeout_s=timeout_s, replicas=replicas)

    def open_shard(name: str) -> ShardStore:
        own = namespace if name == MAIN else f"{namespace}/{name}"
        return RedisShard(topology, namespace=own, timeout_s=timeout_s, retention=retention)

    return ShardedStore(shards, open_shard, retention=retention)
