"""Finds the generated output in an answer: the texts that are counted, and whether there is more than these.

Where an answer reports no usage, its output is counted by its text. So each API names the fields that hold text, and
those that hold none: names, ids, citations, signatures. Content in any other field may have been generated too, at a
cost that nobody knows: then the estimate is booked, or the text if that comes to more.
"""

from collections.abc import Iterable, Mapping

from budget_middleware.apis.counting.input import text_bytes_of
from budget_middleware.apis.protocol.seen import Seen


class OutputFields:
    """The fields of an object in an answer: those that hold generated text, and those that hold no output."""

    __slots__ = ("_known", "texts")

    def __init__(self, *, texts: Iterable[str], silent: Iterable[str]) -> None:
        self.texts = tuple(texts)
        self._known = frozenset((*self.texts, *silent))

    def text_bytes(self, block: Mapping[str, object]) -> int:
        """The bytes of the texts in it."""
        return sum(text_bytes_of(block[field]) for field in self.texts if field in block)

    def has_more(self, block: Mapping[str, object]) -> bool:
        """Whether it has content in a field that is not known. Numbers, flags and null are none."""
        if self._known.issuperset(block):
            return False
        return any(isinstance(block[field], str | list | dict) and block[field] for field in block.keys() - self._known)

    def read(self, block: Mapping[str, object], seen: Seen) -> int:
        """The bytes of the texts in it; content that is not known is noted."""
        seen.has_unread_output |= self.has_more(block)
        return self.text_bytes(block)
