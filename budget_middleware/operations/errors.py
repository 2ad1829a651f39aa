"""Errors of operations, in one line each. Except for `UnknownFate`, nothing was changed."""

from enum import StrEnum

from budget_middleware.stores.errors import StoreRefused, StoreUnavailable

__all__ = ["Confirmation", "OperationError", "StoreRefused", "StoreUnavailable", "Unconfirmed", "UnknownFate"]


class OperationError(Exception):
    """What the operator asked for cannot be done here."""


class Confirmation(StrEnum):
    """What an operator may have to confirm. Each face has its own way to say so: an option, a field."""

    NEW_ACCOUNT = "new_account"
    """The account or the namespace is new: nobody ever used it."""
    LARGE_AMOUNT = "large_amount"
    """The amount is meant, though it is beyond anything on the counters that it changes."""


class Unconfirmed(OperationError):
    """What was asked for may be a typing error: it is done if it is asked for again with this confirmation."""

    def __init__(self, message: str, *, needs: Confirmation) -> None:
        super().__init__(message)
        self.needs = needs


class UnknownFate(StoreUnavailable):
    """The store did not answer in time, so it may have made the change: look in the journal before you repeat it."""
