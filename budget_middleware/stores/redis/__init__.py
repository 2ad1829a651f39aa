"""Counters in Redis or Valkey, shared by every worker: one Lua function a verb (``lua/``), one atomic step each."""

from budget_middleware.stores.redis.keys import key_prefix
from budget_middleware.stores.redis.scripts import lua_text
from budget_middleware.stores.redis.store import RedisStore

__all__ = ["RedisStore", "key_prefix", "lua_text"]
