"""The log entry of a reserve that a limit refused: it changed no counter, so it has no journal entry."""

from dataclasses import dataclass

from budget_middleware.core.limits.limits import LimitMode
from budget_middleware.core.model import Rejection


@dataclass(frozen=True, slots=True)
class LoggedRefusal:
    """One refusal, as it was decided (``time_ms`` is the store's clock), or the last of ``times`` like it.

    ``accounts`` are all that the request would have been charged to, ``rejection`` names the one counter that
    refused it, and ``mode`` is that of its limit. Not enforced: a shadow limit, or BUDGET_MODE=shadow for all, so the
    request was served and held all the same.
    """

    time_ms: int
    reservation_id: str
    accounts: tuple[str, ...]
    rejection: Rejection
    model: str = ""
    trace: str = ""
    is_enforced: bool = True
    times: int = 1
    mode: LimitMode = LimitMode.ENFORCE
