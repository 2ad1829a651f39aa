"""How a ledger is divided into shards, and whether their clocks agree."""

from budget_middleware.operations.doctor.finding import Finding, Health
from budget_middleware.settings import Settings
from budget_middleware.stores.base import Store

MOST_SKEW_MS = 1_000


async def shards_findings(settings: Settings, store: Store) -> list[Finding]:
    """Nothing for a ledger without shards. StoreUnavailable or StoreRefused as for every call."""
    if settings.shard_by is None:
        return []
    parts = (await store.head()).parts
    used = sum(part.seq > 0 for part in parts)
    times_ms = [part.now_ms for part in parts]
    skew_ms = max(times_ms) - min(times_ms)
    message = f"{settings.shard_by.spec}: {used} of {len(parts)}, with the main one, have entries"
    if skew_ms <= MOST_SKEW_MS:
        return [Finding("shards", Health.OK, message)]
    clocks = f"{message}; their clocks are {skew_ms} ms apart"
    return [Finding("shards", Health.WARN, clocks, "run NTP on every node: a window turns by the clock of each shard")]
