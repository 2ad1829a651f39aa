"""What the history calls a ledger: its namespace; with a shard behind it, if that is another than the main one."""

from budget_middleware.stores.sharded.shard_map import MAIN


def ledger_of(namespace: str, journal: str = "") -> str:
    """``journal`` is a name of `journals_of`."""
    return namespace if journal in ("", MAIN) else f"{namespace}/{journal}"
