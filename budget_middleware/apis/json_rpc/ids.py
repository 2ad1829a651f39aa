"""The calls of one JSON-RPC body by their ids: which of them an error is about.

A client chooses the ids. It could give a cheap call that fails the id of an expensive one that succeeds, so that the
error takes back the expensive one. So nothing is taken back for two messages under one id, or under ids that a server
may not tell apart (`1`, `1.0`, `"1"`). Nor is it for an id that is neither text nor number: to some servers null makes
a message a notification, which is done and never answered.
"""

from collections.abc import Iterator
from typing import Final

_KEY_CHARS: Final = 256


class CallsById:
    """The models of calls that an answer can name."""

    def __init__(self) -> None:
        # None once it is not clear, or of a call that costs nothing.
        self._models: dict[str, str | None] = {}

    def add(self, id_: object, model: str | None) -> None:
        """A message with this id; ``model`` is what its call is priced by, None if it costs nothing."""
        key = _key(id_)
        if key is not None:
            self._models[key] = None if key in self._models else model

    def take(self, id_: object) -> Iterator[str]:
        """The model of the call with this id, once, if it is clear which call that is."""
        key = _key(id_)
        if key is not None and (model := self._models.get(key)) is not None:
            self._models[key] = None
            yield model

    def left(self) -> Iterator[str]:
        """The models of all calls that were not taken."""
        return (model for model in self._models.values() if model is not None)


def _key(id_: object) -> str | None:
    if isinstance(id_, bool) or not isinstance(id_, str | int | float):
        return None
    try:
        return repr(float(id_))
    except (ValueError, OverflowError):
        return str(id_)[:_KEY_CHARS]
