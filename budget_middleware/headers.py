"""HTTP headers by name: parsed once, then looked up."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

Headers = list[tuple[bytes, bytes]]

_NOTHING: Final[Mapping[bytes, Sequence[bytes]]] = {}


class HeaderTable(dict[bytes, bytes]):
    """The first value of each header by its name in lower case, whatever case it came in; ``all`` knows the others.

    ``repeated`` is empty where no name came twice, as nearly always: then the first value is all that there is.

    A dict, for a request looks up two dozen of them, and most are not there.
    """

    __slots__ = ("repeated",)

    def __init__(self, headers: Sequence[tuple[bytes, bytes]]) -> None:
        # In Python 3.11 `super()` takes as long as this itself.
        dict.__init__(self, headers)
        self.repeated: Mapping[bytes, Sequence[bytes]] = _NOTHING
        # As nearly all come: every name once, and in the lower case that ASGI asks for.
        if len(self) != len(headers) or not b"".join(self).islower():
            self._read(headers)

    # Credentials are among the values.
    __repr__ = object.__repr__

    def _read(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        values: dict[bytes, list[bytes]] = {}
        for name, value in headers:
            values.setdefault(name.lower(), []).append(value)
        self.clear()
        self.update({name: found[0] for name, found in values.items()})
        self.repeated = values

    def joined(self, name: bytes) -> bytes:
        """All values of a header in one, in lower case and without blanks around them; empty where there is none."""
        values = self.repeated.get(name)
        return b",".join([value.strip().lower() for value in values]) if values else self.get(name, b"").strip().lower()

    def all(self, name: bytes) -> Sequence[bytes]:
        """All values of a header, in their order."""
        if name not in self:
            return ()
        return self.repeated.get(name) or (self[name],)


NO_HEADERS: Final = HeaderTable(())
