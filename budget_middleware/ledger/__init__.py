"""One method a verb; ids, windows, limits, spans, heartbeats and owned tasks around a store. All faces call it."""

from budget_middleware.ledger.endings.owed import AnswerFuture, Ending
from budget_middleware.ledger.holds.handle import BudgetHandle
from budget_middleware.ledger.holds.hold import ClientWait, Hold
from budget_middleware.ledger.jobs.tickets import Job, OpenTicket
from budget_middleware.ledger.ledger import Ledger
from budget_middleware.ledger.limits.layers import LimitsSource
from budget_middleware.ledger.reservation import BudgetRejected, ReservationHandle
from budget_middleware.ledger.sharing.answering_models import AnsweringModels
from budget_middleware.ledger.sharing.learner import Learner
from budget_middleware.ledger.waiting.waiting import Caller, CallerLeftError, Terms

__all__ = [
    "AnswerFuture",
    "AnsweringModels",
    "BudgetHandle",
    "BudgetRejected",
    "Caller",
    "CallerLeftError",
    "ClientWait",
    "Ending",
    "Hold",
    "Job",
    "Learner",
    "Ledger",
    "LimitsSource",
    "OpenTicket",
    "ReservationHandle",
    "Terms",
]
