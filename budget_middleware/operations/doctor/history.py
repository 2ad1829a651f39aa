"""Whether the history keeps up with the journal, and what it lacks."""

from collections.abc import Mapping

from budget_middleware.core.answers import Answer
from budget_middleware.databases.errors import DatabaseFault
from budget_middleware.history.following import WARN_SHARE
from budget_middleware.history.reading import History, open_history
from budget_middleware.operations.doctor.finding import Finding, Health
from budget_middleware.operations.values import iso
from budget_middleware.settings import Settings

_CHECK = "history"
_LATE_MS = 120_000
"""A worker looks every second, and another one goes on within 15 s."""


def history_findings(settings: Settings, heads: Mapping[str, Answer]) -> list[Finding]:
    """Of each ledger (each shard is one) whose history is not well; one line where all are. It blocks.

    Nothing, where the settings name no history.
    """
    if not settings.history_url:
        return []
    try:
        with open_history(settings.history_url) as history:
            found = [_finding(history, ledger, settings, head) for ledger, head in heads.items()]
    except DatabaseFault as error:
        return [Finding(_CHECK, Health.FAIL, error.cause, f"{error.fix}; the journal keeps what it lacks meanwhile")]
    return [finding for finding in found if finding.status is not Health.OK] or found[:1]


def _finding(history: History, ledger: str, settings: Settings, head: Answer) -> Finding:
    extents = history.extents(ledger)
    if not extents:
        message = f"nothing of {ledger} was copied yet"
        return Finding(_CHECK, Health.WARN, message, "start a gateway with BUDGET_HISTORY_URL")
    current = extents[-1]
    if current.store_generation != head.generation:
        message = f"the store of {ledger} is another one than that of the history, which ends {iso(current.last_ms)}"
        return Finding(_CHECK, Health.FAIL, message, "run budget-middleware restore --dry-run, see docs/history.md")
    behind = head.seq - current.last_seq
    message = f"{ledger} is {behind:,} entries behind the journal, which keeps {settings.journal_max:,}"
    if behind > WARN_SHARE * settings.journal_max:
        return Finding(_CHECK, Health.FAIL, message, "see the gateways' log; run budget-middleware history --copy")
    if behind and head.now_ms - current.copied_ms > _LATE_MS:
        stalled = f"{message}; nothing was copied since {iso(current.copied_ms)}"
        return Finding(_CHECK, Health.WARN, stalled, "see the gateways' log; run budget-middleware history --copy")
    if gaps := history.gaps(ledger):
        more = f"{message}; {len(gaps)} gaps, the last found {iso(gaps[-1].found_ms)}"
        return Finding(_CHECK, Health.OK, f"{more}: see budget-middleware history")
    return Finding(_CHECK, Health.OK, f"{message}; no gaps")
