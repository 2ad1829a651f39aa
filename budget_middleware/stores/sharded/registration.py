"""A ledger remembers how it is sharded: with other shards its accounts would be looked for where they are not."""

from budget_middleware.stores.errors import WrongServer
from budget_middleware.stores.sharded.shard_store import RecordedShards

UNSHARDED = ""


def require_same_shards(recorded: RecordedShards, spec: str) -> None:
    """WrongServer, in one line, for a ledger that is sharded in another way than ``spec``; empty: not at all."""
    is_in_use = recorded.spec or recorded.seq
    if recorded.spec == spec or not is_in_use:
        return
    raise WrongServer(
        f"seq {recorded.seq}",
        f"this ledger is {_named(recorded.spec)}, and BUDGET_SHARD_BY={spec!r} asks for one that is {_named(spec)}",
        f"set BUDGET_SHARD_BY={recorded.spec!r} again, or move to another namespace: `budget-middleware migrate`",
    )


def _named(spec: str) -> str:
    return f"sharded by {spec}" if spec else "not sharded"
