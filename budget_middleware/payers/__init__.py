"""Whose a request is: the accounts that pay for it."""

from budget_middleware.payers.accounts_file import AccountsFile
from budget_middleware.payers.payers import AccountsSource, AmbiguousTokenError, Payers, UnclearPayerError

__all__ = ["AccountsFile", "AccountsSource", "AmbiguousTokenError", "Payers", "UnclearPayerError"]
