"""Turns what the redis-py client raises into the errors of a store."""

from collections.abc import Iterator
from contextlib import contextmanager

from redis import exceptions

from budget_middleware.stores.errors import StoreRefused, StoreUnavailable
from budget_middleware.stores.redis.wrong_server import fault_of, wrong_server

# The server answered, and applied nothing; or what it stores does not parse.
_REFUSALS = (exceptions.ResponseError, exceptions.DataError, ValueError, KeyError)
# No answer, so nobody knows; OSError because redis-py lets some of the socket's own errors through.
_OUTAGES = (exceptions.RedisError, OSError)
ELSEWHERE = (exceptions.MovedError, exceptions.AskError, exceptions.TryAgainError, exceptions.ReadOnlyError)
"""The server does not serve the ledger, or not alone."""


@contextmanager
def outages_named() -> Iterator[None]:
    """Turns what redis-py raises into the errors of the Store protocol."""
    try:
        yield
    except (*_REFUSALS, *_OUTAGES) as error:
        if fault := fault_of(error):
            raise wrong_server(str(error), fault) from error
        if isinstance(error, _REFUSALS):
            raise StoreRefused(str(error)) from error
        raise StoreUnavailable(f"{type(error).__name__}: {error}") from error
