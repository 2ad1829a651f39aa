"""What nobody should do to a store: change its records past the verbs."""

from budget_middleware.core.model import Balance, Counter
from budget_middleware.stores.base import Store
from budget_middleware.stores.memory.store import MemoryStore
from budget_middleware.stores.redis import RedisStore
from budget_middleware.stores.sql.postgres_store import PostgresStore
from budget_middleware.stores.sql.sqlite_store import SqliteStore
from tests.stores import postgres_rows, sqlite_file


async def change_by_hand(
    store: Store, counter: Counter, *, spent: int = 0, reserved: int = 0, adjusted: int = 0
) -> None:
    if isinstance(store, MemoryStore):
        tables = store._tables
        balance, by_hand = tables.balances((counter,))[0], tables.by_hand(counter)
        with store._transaction:
            tables.book((counter,), (Balance(balance.spent + spent, balance.reserved + reserved),))
            tables.put_by_hand(counter, by_hand._replace(adjusted=by_hand.adjusted + adjusted))
        return
    if isinstance(store, SqliteStore):
        await store.check()
        sqlite_file.change_counter(store, counter, spent=spent, reserved=reserved, adjusted=adjusted)
        return
    if isinstance(store, PostgresStore):
        await store.check()
        postgres_rows.change_counter(store, counter, spent=spent, reserved=reserved, adjusted=adjusted)
        return
    assert isinstance(store, RedisStore)
    key = f"{store._prefix}c:{counter.name}"
    for field, nanos in {"spent": spent, "reserved": reserved, "adjusted": adjusted}.items():
        await store._client().hincrby(key, field, nanos)


async def lose(store: Store, counter: Counter) -> None:
    if isinstance(store, MemoryStore):
        with store._transaction:
            store._tables.drop_counter(counter)
        return
    if isinstance(store, SqliteStore):
        sqlite_file.drop_counter(store, counter)
        return
    if isinstance(store, PostgresStore):
        postgres_rows.drop_counter(store, counter)
        return
    assert isinstance(store, RedisStore)
    await store._client().delete(f"{store._prefix}c:{counter.name}")


async def change_word(store: RedisStore, key: str, name: str, value: str) -> None:
    """A field of a hash; the state, the targets or a word `name=value` of a text, where an empty one is taken out."""
    client, name_of_key = store._client(), f"{store._prefix}{key}"
    if not key.startswith("r:"):
        await client.hset(name_of_key, name, value)
        return
    head, _, targets = (await client.get(name_of_key)).partition("\n")
    version, state, *words = head.split(" ")
    match name:
        case "state":
            state = value
        case "targets":
            targets = value
        case _:
            words = [word for word in words if not word.startswith(f"{name}=")] + [f"{name}={value}"] * bool(value)
    await client.set(name_of_key, " ".join((version, state, *words)) + f"\n{targets}")
