"""A reservation for code that no HTTP request called: workers, batch jobs, cron."""

from collections.abc import Mapping
from decimal import Decimal

from budget_middleware.core.accounts import GLOBAL, KEY, KIND, MODEL, encode_subject, is_key_subject
from budget_middleware.core.model import Answer, Rejection
from budget_middleware.core.money import nanos_from_usd, usd_from_nanos
from budget_middleware.core.units import Amounts
from budget_middleware.ledger.hold import Hold


class BudgetRejected(Exception):
    """A reservation was refused; no counter has changed.

    `is_held`: only what others hold stands in the way, so the same reservation may succeed later. `rejection` names
    the counter and its figures, None where the store gave another answer, which is the message then.
    """

    def __init__(self, answer: Answer) -> None:
        super().__init__(_told(answer.rejection) if answer.rejection else f"the budget store answered {answer.status}")
        self.rejection = answer.rejection

    @property
    def is_held(self) -> bool:
        return self.rejection is not None and self.rejection.is_held


def hold_for(accounts: Mapping[str, str], *, estimate_usd: str | int | Decimal, model: str) -> Hold:
    """A hold of an amount on accounts by kind; ValueError, in one line, for what cannot be one."""
    for kind, subject in accounts.items():
        if not KIND.fullmatch(kind) or kind in (GLOBAL, MODEL):
            raise ValueError(f"{kind!r} is no kind of account that can be charged here; accepted are such as key, team")
        # Not repeated in the message: it may be a token, which must never be stored.
        if kind == KEY and not is_key_subject(subject):
            raise ValueError("the subject of a key is 16 hex digits, which `budget-middleware key-id` tells")
    nanos = nanos_from_usd(estimate_usd)
    if nanos < 0:
        raise ValueError(f"{estimate_usd!r}: an estimate is 0 or more")
    payers = {kind: encode_subject(subject) for kind, subject in accounts.items()}
    return Hold(payers, Amounts(usd=nanos), model=encode_subject(model) if model else "")


def _told(rejection: Rejection) -> str:
    account, period, window, _ = rejection.target.counter
    return (
        f"{account} for {period} {window}: limit ${usd_from_nanos(rejection.limit)}, "
        f"spent ${usd_from_nanos(rejection.balance.spent)}, "
        f"reserved ${usd_from_nanos(rejection.balance.reserved)}, "
        f"estimate ${usd_from_nanos(rejection.estimate)}"
    )
