"""Checks the spool folder for endings that no process will book any more."""

from budget_middleware.ledger.endings.spool_file import refused_in, set_aside_in
from budget_middleware.operations.doctor.finding import Finding, Health
from budget_middleware.settings import Settings


def spool_findings(settings: Settings) -> list[Finding]:
    """Endings that no process may book any more."""
    if settings.spool_path is None:
        return []
    fix = "look for its id in the journal, book it with adjust if it is not there, then delete the file"
    return [
        Finding("spool", Health.WARN, f"{path}: it came too late to be booked", fix)
        for path in set_aside_in(settings.spool_path)
    ] + [
        Finding(
            "spool",
            Health.WARN,
            f"{path}: some of its lines are no endings, and were not booked",
            "find out who wrote them, book what is owed with adjust, then delete the file",
        )
        for path in refused_in(settings.spool_path)
    ] or [Finding("spool", Health.OK, f"nothing in {settings.spool_path} came too late to be booked")]
