"""Checks the database of a Postgres store: how fast it answers, what a commit waits for, which connections are left."""

from typing import Any

from budget_middleware.operations.doctor.finding import Finding, Health
from budget_middleware.operations.doctor.speed import answers_in
from budget_middleware.settings import Settings

FEW_CONNECTIONS_LEFT = 0.9
"""With so much of them taken, a rolling deployment, in which old and new workers run, may find none left."""

_MEBIBYTE = 2**20


async def database_findings(settings: Settings, store: Any) -> list[Finding]:
    """Ask the store about its database, and judge it. StoreUnavailable or StoreRefused as for every call."""
    answers, facts = await answers_in(settings, store), await store.facts()
    size = f"Postgres {facts.version}, a database of {facts.bytes / _MEBIBYTE:.0f} MiB"
    return [
        Finding("store", Health.OK, f"{answers}, {size}"),
        persistence_finding(fsync=facts.fsync, synchronous_commit=facts.synchronous_commit),
        connections_finding(taken=facts.connections, most=facts.max_connections),
    ]


def persistence_finding(*, fsync: str, synchronous_commit: str) -> Finding:
    """Whether what was answered outlives a crash."""
    found = f"fsync={fsync}, synchronous_commit={synchronous_commit}"
    if fsync == "off":
        return Finding("persistence", Health.WARN, f"{found}: a crash may damage the database", "set fsync=on")
    if synchronous_commit == "off":
        return Finding(
            "persistence", Health.WARN, f"{found}: a crash loses the last commits", "set synchronous_commit=on"
        )
    return Finding("persistence", Health.OK, f"{found}: what was answered is on the disk")


def connections_finding(*, taken: int, most: int) -> Finding:
    """How many connections the server has left."""
    message = f"{taken} of {most} are taken; each worker takes two, and one more where requests wait"
    if taken >= FEW_CONNECTIONS_LEFT * most:
        return Finding("connections", Health.WARN, message, "raise max_connections")
    return Finding("connections", Health.OK, message)
