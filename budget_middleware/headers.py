"""HTTP headers by name: parsed once, then looked up."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

Headers = list[tuple[bytes, bytes]]

_NOTHING: Final[Mapping[bytes, Sequence[bytes]]] = {}


class HeaderTable:
    """The values of headers by their names in lower case, whatever case they came in."""

    __slots__ = ("_first", "_repeated")

    def __init__(self, headers: Sequence[tuple[bytes, bytes]]) -> None:
        self._first = dict(headers)
        self._repeated = _NOTHING
        # As nearly all come: every name once, and in the lower case that ASGI asks for.
        if len(self._first) != len(headers) or not b"".join(self._first).islower():
            self._read(headers)

    def _read(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        values: dict[bytes, list[bytes]] = {}
        for name, value in headers:
            values.setdefault(name.lower(), []).append(value)
        self._first = {name: found[0] for name, found in values.items()}
        self._repeated = values

    def among(self, names: frozenset[bytes]) -> Iterable[bytes]:
        """Those of the names that there are."""
        return self._first.keys() & names

    def first(self, name: bytes) -> bytes:
        """The first value of a header; empty where there is none."""
        return self._first.get(name, b"")

    def all(self, name: bytes) -> Sequence[bytes]:
        """All values of a header, in their order."""
        if name not in self._first:
            return ()
        return self._repeated.get(name) or (self._first[name],)


NO_HEADERS: Final = HeaderTable(())
