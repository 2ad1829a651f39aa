"""Checks the store's server: version, eviction, persistence, clock."""

import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from budget_middleware.operations.doctor.finding import Finding, Health
from budget_middleware.operations.doctor.topology import topology_findings
from budget_middleware.setting_types import redact_url
from budget_middleware.settings import Settings

LEAST_VERSION = (6, 2)
MOST_OFFSET_MS = 1_000


async def server_findings(settings: Settings, store: Any) -> list[Finding]:
    """Ask the server and judge its answers. StoreUnavailable or StoreRefused as for every call."""
    # The first call opens the connection; only the second one shows its speed.
    await store.head()
    asked_ms = time.time_ns() // 1_000_000
    store_ms = (await store.head()).now_ms
    answered_ms = time.time_ns() // 1_000_000
    facts = await _server_facts(store)
    judged = judge(
        facts,
        where=redact_url(settings.store_url),
        took_ms=answered_ms - asked_ms,
        offset_ms=store_ms - (asked_ms + answered_ms) // 2,
    )
    found = await store.libraries()
    judged += await topology_findings(store, facts, replicas_wanted=settings.replicas)
    return [*judged, functions_finding(is_used=found.is_used, others=found.others, why_not=found.why_not)]


def judge(facts: Mapping[str, str], *, where: str, took_ms: int, offset_ms: int) -> list[Finding]:
    """What the facts of a server (INFO, and the `save` setting if it is known) mean for a ledger."""
    return [
        _version_finding(facts, f"{where} answers in {took_ms} ms"),
        _memory_finding(facts.get("maxmemory_policy", "unknown")),
        _persistence_finding(facts),
        _clock_finding(offset_ms),
    ]


async def _server_facts(store: Any) -> Mapping[str, str]:
    client = store._client()
    facts: dict[str, str] = {}
    # Managed servers forbid INFO and CONFIG in many ways; that is some facts less.
    with suppress(Exception):
        facts |= {name: str(value) for name, value in (await client.info()).items()}
    with suppress(Exception):
        facts |= await client.config_get("save", "min-replicas-to-write")
    return facts


def functions_finding(*, is_used: bool, others: Sequence[str], why_not: str = "") -> Finding:
    """How the script of requests is called, and libraries that other versions of this package have left."""
    if not is_used:
        return Finding(
            "functions", Health.OK, f"not used; scripts are called by their digest, which takes longer: {why_not}"
        )
    if others:
        message = f"used; {len(others)} of other versions take memory"
        delete = "; ".join(f"FUNCTION DELETE {name}" for name in others)
        return Finding("functions", Health.OK, message, f"once none of their gateways is left: {delete}")
    return Finding("functions", Health.OK, "used")


def _version_finding(facts: Mapping[str, str], answers: str) -> Finding:
    # Valkey reports its own version and that of the Redis that it replaces.
    numbers = tuple(map(int, re.findall(r"\d+", facts.get("redis_version", ""))[:2]))
    version = facts.get("valkey_version") or facts.get("redis_version", "unknown")
    message = f"{answers}, version {version}"
    if not numbers:
        return Finding("store", Health.WARN, f"{message} (INFO is forbidden)", "allow INFO")
    if numbers < LEAST_VERSION:
        return Finding("store", Health.FAIL, message, "run Redis 6.2 or Valkey 7.2, or later")
    return Finding("store", Health.OK, message)


def _memory_finding(policy: str) -> Finding:
    fix = "set maxmemory-policy noeviction on the server"
    if policy.startswith("allkeys"):
        return Finding("memory", Health.FAIL, f"maxmemory-policy {policy} may evict counters and reservations", fix)
    if policy == "noeviction":
        return Finding("memory", Health.OK, "maxmemory-policy noeviction")
    return Finding(
        "memory", Health.WARN, f"maxmemory-policy {policy} may evict keys with an expiry, such as counters", fix
    )


def _persistence_finding(facts: Mapping[str, str]) -> Finding:
    if facts.get("aof_enabled") == "1":
        return Finding("persistence", Health.OK, "append-only file")
    if facts.get("save"):
        return Finding("persistence", Health.OK, "snapshots; a crash loses everything after the last one")
    if "save" not in facts:
        return Finding(
            "persistence",
            Health.WARN,
            "no append-only file, snapshots unknown (CONFIG is forbidden)",
            "turn one on",
        )
    return Finding("persistence", Health.WARN, "none: a restart forgets every counter", "set appendonly yes")


def _clock_finding(offset_ms: int) -> Finding:
    side = "ahead of" if offset_ms >= 0 else "behind"
    message = f"the store's clock is {abs(offset_ms)} ms {side} this machine's"
    if abs(offset_ms) <= MOST_OFFSET_MS:
        return Finding("clock", Health.OK, message)
    return Finding(
        "clock",
        Health.WARN,
        message,
        "run NTP on both; windows and leases follow the store, spans the worker",
    )
