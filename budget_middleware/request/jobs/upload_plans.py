"""What all uploads have in common: a form that is read while it passes, and what its file plans, kept as a fact."""

import logging
from collections.abc import Sequence
from typing import Final

from budget_middleware.apis.form import UnclearFormError, boundary_of
from budget_middleware.headers import HeaderTable
from budget_middleware.ledger import Ledger
from budget_middleware.ledger.tickets import NO_ANSWER

TRAINING: Final = "fine-tune"
"""The purpose of a file that a model is trained on."""

_log = logging.getLogger("budget_middleware")


def readable_boundary(headers: Sequence[tuple[bytes, bytes]]) -> bytes | None:
    """The boundary of a form that can be read while it passes; None for a compressed one, and for anything else."""
    table = HeaderTable(headers)
    if table.all(b"content-encoding"):
        return None
    try:
        return boundary_of(table.all(b"content-type"))
    except UnclearFormError:
        return None


async def keep_plan(ledger: Ledger, fact: str, text: str, *, keep_ms: int) -> None:
    """Keep what a file plans; a store that is away is told in the log, and such a file is an unknown one."""
    try:
        await ledger.tickets.keep_fact(fact, text, keep_ms=keep_ms)
    except NO_ANSWER as error:
        _log.warning("what an uploaded file plans is not known to the store: %s", error)
