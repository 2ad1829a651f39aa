"""Checks where the ledger lives in a cluster or behind Sentinels, and how many replicas have what is written."""

from collections.abc import Mapping
from typing import Any

from budget_middleware.operations.doctor.finding import Finding, Health

_NO_REPLICA = "start a replica; until then a primary that dies takes the ledger with it"


async def topology_findings(store: Any, facts: Mapping[str, str], *, replicas_wanted: int) -> list[Finding]:
    """Nothing about a single server, of which no replicas are wanted: it may have none."""
    place = store.location()
    if not place.is_looked_up and not replicas_wanted:
        return []
    return [judge_topology(place.description, facts, replicas_wanted=replicas_wanted)]


def judge_topology(where: str, facts: Mapping[str, str], *, replicas_wanted: int) -> Finding:
    """What INFO of the ledger's primary, and `min-replicas-to-write` if it is known, mean for what is written."""
    if "connected_slaves" not in facts:
        return Finding("topology", Health.WARN, f"{where}; its replicas are unknown (INFO is forbidden)", "allow INFO")
    connected = int(facts["connected_slaves"])
    least = facts.get("min-replicas-to-write", "unknown")
    counted = f"{connected} replica{'s' * (connected != 1)}"
    message = f"{where}; {counted}, min-replicas-to-write {least}, BUDGET_REPLICAS={replicas_wanted}"
    if connected < replicas_wanted:
        return Finding(
            "topology", Health.FAIL, message, "start replicas, or lower BUDGET_REPLICAS: no write counts until then"
        )
    if not connected:
        return Finding("topology", Health.WARN, message, _NO_REPLICA)
    if connected == replicas_wanted:
        return Finding(
            "topology", Health.OK, f"{message}: the store is away whenever one of them is", "have one replica more"
        )
    return Finding("topology", Health.OK, message)
