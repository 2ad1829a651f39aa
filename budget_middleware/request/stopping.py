"""Where an answer outgrows its hold: more is held for it, or it is stopped at the limit that this would pass."""

from typing import Final

from budget_middleware.apis.answers.answer_reader import AnswerReader
from budget_middleware.apis.protocol.base import Reason, Refusal
from budget_middleware.core.answers import Answer
from budget_middleware.core.limits.period_words import per_period
from budget_middleware.core.model import Target
from budget_middleware.core.payers.accounts import kind_of
from budget_middleware.ledger import Hold, Ledger
from budget_middleware.request.settlement import Settlement
from budget_middleware.setting_types import Mode, OnLimit
from budget_middleware.settings import Settings

WHY_STOPPED: Final = "stopped at a limit"
"""What the reason of the booking says beside the basis of its charge."""


class StreamStoppedError(ConnectionAbortedError):
    """What the app's ``send`` raises after its stream was stopped, as if the client had gone."""


class LimitStop:
    """Grows the hold of one answer, and stops the answer where BUDGET_ON_LIMIT says so."""

    def __init__(
        self, hold: Hold, *, reader: AnswerReader, settlement: Settlement, settings: Settings, ledger: Ledger
    ) -> None:
        self.has_stopped = False
        self._hold = hold
        self._reader = reader
        self._seen = reader.seen
        self._settlement = settlement
        self._settings = settings
        self._ledger = ledger
        self._stops = stops_at_limits(settings)

    async def outgrow(self, chunk: bytes) -> tuple[bytes, Answer | None] | None:
        """Have more held. If that passes a limit, end the answer after the events of ``chunk``: the last bytes of it,
        and what the store answered to its ending. None if it goes on.
        """
        if not self._stops or self._seen.terminal or not self._reader.can_be_stopped:
            self._ledger.grow(self._hold)
            return None
        passed = await self._ledger.grow_and_look(self._hold)
        if passed is None or self._settlement.charge is not None:
            return None
        self.has_stopped = True
        last = self._reader.stopped_after(chunk, stop_refusal(passed, status=self._settings.exhausted_status))
        return last, await self._settlement.stop(why=WHY_STOPPED)

    def raise_if_stopped(self) -> None:
        """Tell an app that sends more that its answer was stopped."""
        if self.has_stopped:
            raise StreamStoppedError(f"the answer of reservation {self._hold.id} was {WHY_STOPPED}")


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
