"""Checks that all gateways of this ledger, and this shell, have the same secret, time zone and periods."""

from collections.abc import Sequence

from budget_middleware.core.fingerprint import differences
from budget_middleware.ledger.sharing.settings_watch import ALIVE_MS
from budget_middleware.operations.doctor.finding import Finding, Health
from budget_middleware.stores.notes import Note, Topic

_CHECK = "gateways"


def fingerprint_findings(own: str, notes: Sequence[Note], *, now_ms: int, neighbours: Sequence[str]) -> list[Finding]:
    """``own`` is the fingerprint of this shell's settings, ``neighbours`` the namespaces beside an empty one."""
    fingerprints = sorted((note for note in notes if note.topic is Topic.SETTINGS), key=lambda note: note.time_ms)
    if neighbours and not fingerprints:
        message = f"this namespace is empty, others in this store are not: {', '.join(neighbours[:10])}"
        return [Finding(_CHECK, Health.WARN, message, "set BUDGET_NAMESPACE to that of the gateways")]
    if not fingerprints:
        return [Finding(_CHECK, Health.OK, "none has written its settings to this ledger yet")]
    *_, latest = fingerprints
    alive = [note for note in fingerprints if note.time_ms >= now_ms - ALIVE_MS]
    if disagreed := _all_differences(alive):
        message = f"{disagreed} differ between gateways that run now, which count the same requests on other counters"
        fix = f"give all of them the same settings, and restart them; one that stopped counts for {ALIVE_MS // 1000} s"
        return [Finding(_CHECK, Health.FAIL, message, fix)]
    if ours := differences(own, latest.text):
        message = f"set otherwise here than at the gateways: {', '.join(ours)}"
        return [Finding(_CHECK, Health.WARN, message, "run commands with the gateways' environment")]
    if changed := _all_differences(fingerprints):
        message = f"agree; {changed} were changed within the time that counters are kept"
        return [Finding(_CHECK, Health.OK, message)]
    return [Finding(_CHECK, Health.OK, "agree on secret, time zone and periods; so do the settings here")]


def _all_differences(notes: Sequence[Note]) -> str:
    """The settings in which any gateway differs from the first, for a sentence; empty if none does."""
    found = [name for note in notes[1:] for name in differences(notes[0].text, note.text)]
    return ", ".join(dict.fromkeys(found))
