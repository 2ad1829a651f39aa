"""Dialects of the user's own, as `BudgetMiddleware(apis=[…])` takes them: checked at start-up, isolated later.

A mistake in one of them costs the reading of an answer, never the answer: what was not read is booked by the estimate.
"""

import logging
from collections.abc import Iterable
from typing import Final

from budget_middleware.apis.base import Api, Ask, Refusal
from budget_middleware.apis.ordinary import OrdinaryEvent
from budget_middleware.apis.seen import Seen

_METHODS: Final = ("matches", "read_request", "ask_for_usage", "read_json", "read_event", "error_body")
_TEXTS: Final = ("name", "provider")
_TYPES: Final = ("ordinary_event", "ordinary_answer")
_EXAMPLE: Final = "accepted is a list of objects of classes that derive from budget_middleware.apis.JsonApi"

_log = logging.getLogger("budget_middleware")


class WrongDialectError(ValueError):
    """What was handed in is no dialect; the message is one line."""


class OwnApi:
    """A dialect of the user's own, of which no mistake reaches a client whose answer is being read."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._is_broken_known = False
        self.name = api.name
        self.provider = api.provider
        self.ordinary_event = api.ordinary_event
        self.ordinary_answer = api.ordinary_answer
        self.matches = api.matches
        self.ask_for_usage = api.ask_for_usage

    def read_request(self, body: object, *, path: str, n_bytes: int, query: bytes = b"") -> Ask:
        """Read a request. A mistake is not caught: nothing has been spent, and nothing could be reserved."""
        return self._api.read_request(body, path=path, n_bytes=n_bytes, query=query)

    def read_json(self, document: object, seen: Seen) -> None:
        """Read an answer, or leave it unread."""
        try:
            self._api.read_json(document, seen)
        except Exception as error:  # noqa: BLE001 - whatever somebody else's code raises
            self._leave_unread(error, seen)

    def read_event(self, data: bytes, seen: Seen, *, hide_usage: bool) -> bytes | None:
        """Read an event, or pass it on unread."""
        try:
            return self._api.read_event(data, seen, hide_usage=hide_usage)
        except Exception as error:  # noqa: BLE001 - whatever somebody else's code raises
            self._leave_unread(error, seen)
            return data

    def error_body(self, refusal: Refusal) -> dict[str, object]:
        """The refusal in the dialect's own shape."""
        return self._api.error_body(refusal)

    def _leave_unread(self, error: Exception, seen: Seen) -> None:
        seen.has_unread_output = True
        if not self._is_broken_known:
            self._is_broken_known = True
            # Its text may hold what was to be read.
            _log.warning(
                "apis: %s raised %s while it read an answer, which is therefore booked at its estimate (logged once)",
                self.name,
                type(error).__name__,
            )


def own_apis(apis: object, *, taken: Iterable[str]) -> tuple[Api, ...]:
    """The dialects that a user has handed in. WrongDialectError for what is none, or has a name that is taken."""
    if isinstance(apis, str | bytes) or not isinstance(apis, Iterable):
        raise WrongDialectError(f"{_shown(apis)}; {_EXAMPLE}")
    names = set(taken)
    checked = []
    for api in apis:
        _check(api)
        if api.name in names:
            raise WrongDialectError(f"the name {api.name!r} is taken by another dialect")
        names.add(api.name)
        checked.append(OwnApi(api))
    return tuple(checked)


def _check(api: object) -> None:
    if isinstance(api, type):
        raise WrongDialectError(f"{_shown(api)} is a class; {_EXAMPLE}, such as {api.__name__}()")
    missing = [name for name in (*_TEXTS, *_METHODS, *_TYPES) if not hasattr(api, name)]
    if missing:
        raise WrongDialectError(f"{_shown(api)} has no {', '.join(missing)}; {_EXAMPLE}")
    for name in _TEXTS:
        value = getattr(api, name)
        if not isinstance(value, str) or not value:
            raise WrongDialectError(f"{_shown(api)}.{name} is {value!r}; accepted is a text that is not empty")
    for name in _METHODS:
        if not callable(getattr(api, name)):
            raise WrongDialectError(f"{_shown(api)}.{name} is no method")
    for name in _TYPES:
        kind = getattr(api, name)
        if kind is not None and not (isinstance(kind, type) and issubclass(kind, OrdinaryEvent)):
            raise WrongDialectError(f"{_shown(api)}.{name} is no class that derives from OrdinaryEvent")


def _shown(value: object) -> str:
    return value.__name__ if isinstance(value, type) else type(value).__name__
