"""Telemetry never breaks a request: what a provider, processor or propagator raises is logged once and forgotten."""

import functools
import logging
from collections.abc import Callable
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_R = TypeVar("_R")
_T = TypeVar("_T")

_log = logging.getLogger("budget_middleware")


def harmless(method: Callable[_P, _R]) -> Callable[_P, _R | None]:
    """A provider's error must not reach a request: it is logged the first time, and the answer is None."""
    return harmless_or(None)(method)


def harmless_or(otherwise: _T) -> Callable[[Callable[_P, _R]], Callable[_P, _R | _T]]:
    """As `harmless`, with another answer in the place of None."""

    def guard(method: Callable[_P, _R]) -> Callable[_P, _R | _T]:
        logged = False

        @functools.wraps(method)
        def guarded(*args: _P.args, **kwargs: _P.kwargs) -> _R | _T:
            nonlocal logged
            try:
                return method(*args, **kwargs)
            except Exception:  # noqa: BLE001 - whatever it is, the request goes on
                if not logged:
                    logged = True
                    _log.warning("telemetry failed in %s; requests are not affected", method.__name__, exc_info=True)
                return otherwise

        return guarded

    return guard
