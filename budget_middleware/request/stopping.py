"""Where a stream is stopped that has passed a limit: what its client is told, and what its app may then raise."""

from typing import Final

from budget_middleware.apis.base import Reason, Refusal
from budget_middleware.core.accounts import kind_of
from budget_middleware.core.model import Target
from budget_middleware.core.period_words import per_period
from budget_middleware.setting_types import Mode, OnLimit
from budget_middleware.settings import Settings

WHY: Final = "stopped at a limit"
"""What the reason of the booking says beside the basis of its charge."""


class StreamStoppedError(ConnectionAbortedError):
    """What the app's ``send`` raises after its stream was stopped, as if the client had gone."""


def stops_at_limits(settings: Settings) -> bool:
    """Whether streams are stopped at all: shadow mode refuses nothing."""
    return settings.on_limit is OnLimit.STOP and settings.mode is Mode.ENFORCE


def stop_refusal(passed: Target, *, status: int) -> Refusal:
    """Tells whose budget is used up; no figure, and no subject, which may not be the caller's own."""
    budget = f"{kind_of(passed.account)} {per_period(passed.window.period, passed.window.id)}"
    message = f"The budget of {budget} is used up by this answer, which ends here."
    return Refusal(status=status, reason=Reason.STOPPED, message=message)


def is_caused_by_stop(error: BaseException | None) -> bool:
    """Whether an app has ended because its stream was stopped, however it wraps the error that told it."""
    if isinstance(error, BaseExceptionGroup):
        return all(map(is_caused_by_stop, error.exceptions))
    while error is not None:
        if isinstance(error, StreamStoppedError):
            return True
        error = error.__cause__ or error.__context__
    return False
