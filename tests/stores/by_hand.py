"""What nobody should do to a store: change its records past the verbs."""

from budget_middleware.core.model import Balance, Counter
from budget_middleware.stores.base import Store
from budget_middleware.stores.memory import MemoryStore
from budget_middleware.stores.packing import counter_name
from budget_middleware.stores.redis import RedisStore


async def change_by_hand(
    store: Store, counter: Counter, *, spent: int = 0, reserved: int = 0, adjusted: int = 0
) -> None:
    if isinstance(store, MemoryStore):
        found = store._balances.get(counter, Balance())
        store._balances[counter] = Balance(found.spent_nanos + spent, found.reserved_nanos + reserved)
        store._adjusted[counter] = store._adjusted.get(counter, 0) + adjusted
        return
    assert isinstance(store, RedisStore)
    key = f"{store._prefix}c:{counter_name(counter)}"
    for field, nanos in {"spent": spent, "reserved": reserved, "adjusted": adjusted}.items():
        await store._client().hincrby(key, field, nanos)


async def lose(store: Store, counter: Counter) -> None:
    if isinstance(store, MemoryStore):
        del store._balances[counter]
        store._adjusted.pop(counter, None)
        return
    assert isinstance(store, RedisStore)
    await store._client().delete(f"{store._prefix}c:{counter_name(counter)}")
