"""Dialects of the user's own, as `BudgetMiddleware(apis=[…])` takes them: checked at start-up, isolated later.

A mistake in one of them costs the reading of an answer, never the answer: what was not read is booked by the estimate.
Figures that are none are such a mistake, for what is not a count must not reach a counter.
"""

import logging
from collections.abc import Callable, Iterable
from typing import Final

from budget_middleware.apis.own.figures import fields_of, go_back, wrong_in_ask, wrong_in_seen
from budget_middleware.apis.protocol.base import Api, Ask, Refusal
from budget_middleware.apis.protocol.ordinary import OrdinaryEvent
from budget_middleware.apis.protocol.seen import Seen

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
        self.ordinary_event = self._guarded(api.ordinary_event)
        self.ordinary_answer = self._guarded(api.ordinary_answer)
        self.matches = api.matches

    def read_request(self, body: object, *, path: str, n_bytes: int, query: bytes = b"") -> Ask:
        """Read a request. A mistake is not caught: nothing has been spent, and nothing could be reserved."""
        ask = self._api.read_request(body, path=path, n_bytes=n_bytes, query=query)
        if wrong := wrong_in_ask(ask):
            raise TypeError(f"apis: {self.name} read a request of which {wrong}")
        return ask

    def ask_for_usage(self, raw: bytes, body: object) -> bytes | None:
        """The body that asks for usage, or nothing: the app gets the request as it came."""
        try:
            asking = self._api.ask_for_usage(raw, body)
        except Exception as error:  # noqa: BLE001 - whatever somebody else's code raises
            self._report(f"raised {type(error).__name__} while it asked for a usage, so that none is asked for")
            return None
        return asking if isinstance(asking, bytes) else None

    def read_json(self, document: object, seen: Seen) -> None:
        """Read an answer, or leave it unread."""
        self._read(seen, lambda: self._api.read_json(document, seen))

    def read_event(self, data: bytes, seen: Seen, *, hide_usage: bool) -> bytes | None:
        """Read an event, or pass it on unread."""
        shown: bytes | None = data

        def read() -> None:
            nonlocal shown
            shown = self._api.read_event(data, seen, hide_usage=hide_usage)

        self._read(seen, read)
        return shown

    def error_body(self, refusal: Refusal) -> dict[str, object]:
        """The refusal in the dialect's own shape."""
        return self._api.error_body(refusal)

    def _guarded(self, kind: type[OrdinaryEvent] | None) -> type[OrdinaryEvent] | None:
        """The same ordinary events, which add what can be."""
        if kind is None:
            return None

        def add_to(event: OrdinaryEvent, seen: Seen) -> None:
            self._read(seen, lambda: kind.add_to(event, seen))

        return type(kind.__name__, (kind,), {"add_to": add_to})

    def _read(self, seen: Seen, read: Callable[[], None]) -> None:
        before, mistake = fields_of(seen), ""
        try:
            read()
        except Exception as error:  # noqa: BLE001 - whatever somebody else's code raises
            # Its text may hold what was to be read.
            mistake = f"raised {type(error).__name__}"
        if wrong := wrong_in_seen(seen):
            go_back(seen, before)
            mistake = mistake or f"found what cannot be ({wrong})"
        if mistake:
            seen.has_unread_output = True
            self._report(f"{mistake} while it read an answer, which is therefore booked at its estimate")

    def _report(self, what: str) -> None:
        if not self._is_broken_known:
            self._is_broken_known = True
            _log.warning("apis: %s %s (logged once)", self.name, what)


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
