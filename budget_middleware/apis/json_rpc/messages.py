"""The messages of one JSON-RPC body: which of them are calls, and which surely cost nothing."""

import json
from collections.abc import Callable
from typing import Final, NamedTuple

from budget_middleware.apis.bodies.reading import UNREADABLE, mapping_of, text_in

_READ_FIELDS: Final = frozenset({"jsonrpc", "id", "method", "params", "name"})
_CALL_FIELDS: Final = frozenset({"jsonrpc", "method", "params", "arguments"})
_REQUEST_FIELDS: Final = frozenset({"jsonrpc", "id", "method", "params"})
_ANSWER_FIELDS: Final = frozenset({"jsonrpc", "id", "result", "error"})


def may_be_rpc(document: object) -> bool:
    """Whether some server may take a body for JSON-RPC: it is no object, or has a field of a call."""
    return not isinstance(document, dict) or any(name.casefold() in _CALL_FIELDS for name in document)


class Message(NamedTuple):
    """A message with its id; ``tool``: what its parameters name."""

    id: object
    is_call: bool
    tool: str | None = None


class Messages:
    """What was read. ``is_alone``: no batch; ``is_unclear``: a field comes twice, nobody knows which of them counts.

    ``is_free`` says of a method whether it costs nothing.
    """

    def __init__(self, raw: bytes, *, is_free: Callable[[str], bool]) -> None:
        self.is_unclear = False
        self.document = self._parse(raw) if raw else UNREADABLE
        self.is_read = self.document is not UNREADABLE
        self.is_alone = isinstance(self.document, dict)
        self._is_free = is_free

    def _parse(self, raw: bytes) -> object:
        try:
            return json.loads(raw, object_pairs_hook=self._object)
        except (ValueError, RecursionError):
            return UNREADABLE

    def _object(self, pairs: list[tuple[str, object]]) -> dict[str, object]:
        """An object; some servers ignore the case of names."""
        names = [name.casefold() for name, _ in pairs]
        read = [name for name in names if name in _READ_FIELDS]
        self.is_unclear |= len(read) > len(set(read))
        return dict(pairs)

    def all(self) -> list[Message]:
        """The messages of a body that was read, also of a batch within a batch."""
        found: list[Message] = []
        stack = [self.document]
        while stack:
            message = stack.pop()
            if isinstance(message, list):
                stack += message
                continue
            fields = mapping_of(message)
            is_call = not self._costs_nothing(message)
            # Some routes take the parameters alone.
            tool = text_in(mapping_of(fields.get("params")), "name") or text_in(fields, "name")
            found.append(Message(fields.get("id"), is_call, tool))
        return found

    def _costs_nothing(self, message: object) -> bool:
        if not isinstance(message, dict):
            return False
        if message.keys() <= _ANSWER_FIELDS and ("result" in message or "error" in message):
            return True
        method = message.get("method")
        return message.keys() <= _REQUEST_FIELDS and isinstance(method, str) and self._is_free(method)
