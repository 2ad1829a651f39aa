"""Who pays for a request: finds its accounts."""

from budget_middleware.payers.accounts_file import AccountsFile
from budget_middleware.payers.credentials import AmbiguousTokenError, CredentialSource, UnclearPayerError
from budget_middleware.payers.payers import AccountsSource, Payers

__all__ = ["AccountsFile", "AccountsSource", "AmbiguousTokenError", "CredentialSource", "Payers", "UnclearPayerError"]
