"""Checks the file of a SQLite store: whether it is sound, what a commit waits for, how much room is left."""

from typing import Any

from budget_middleware.operations.doctor.finding import Finding, Health
from budget_middleware.operations.doctor.speed import answers_in
from budget_middleware.settings import Settings

LEAST_FREE_BYTES = 256 * 2**20
"""With less room than that an afternoon's requests may fill the disk."""

_MEBIBYTE = 2**20
_DURABILITY = {
    "normal": "a crash of a process loses nothing, a power cut may lose the last commits (?synchronous=full: nothing)",
    "full": "neither a crash nor a power cut loses a commit",
}


async def file_findings(settings: Settings, store: Any) -> list[Finding]:
    """Ask the store about its file, and judge it. StoreUnavailable or StoreRefused as for every call."""
    answers, facts = await answers_in(settings, store), store.facts()
    size = f"{facts.bytes / _MEBIBYTE:.1f} MiB and a log of {facts.log_bytes / _MEBIBYTE:.1f} MiB"
    return [
        Finding("store", Health.OK, f"{answers}, SQLite {facts.version}, {size}"),
        _soundness_finding(await store.quick_check()),
        Finding("persistence", Health.OK, f"{facts.path}: {_DURABILITY[facts.synchronous]}"),
        disk_finding(free_bytes=facts.free_bytes, total_bytes=facts.total_bytes),
    ]


def _soundness_finding(damage: list[str]) -> Finding:
    if not damage:
        return Finding("file", Health.OK, "quick_check finds it sound")
    return Finding("file", Health.FAIL, f"quick_check: {'; '.join(damage[:3])}", "bring back a copy of the file")


def disk_finding(*, free_bytes: int, total_bytes: int) -> Finding:
    """How much room is left for the file to grow."""
    message = f"{free_bytes // _MEBIBYTE} of {total_bytes // _MEBIBYTE} MiB are free"
    if free_bytes < LEAST_FREE_BYTES:
        return Finding("disk", Health.WARN, message, "free space, or move the file to a larger disk")
    return Finding("disk", Health.OK, message)
