"""The usage of a JSON answer that is too long to be kept: it is looked for while the answer passes.

A client can make an answer so long (`top_logprobs`), and what cannot be read is booked at what such answers usually
come to. Within a text each quote is escaped, so what looks like a usage is one, or a value that the client has sent and
that is repeated: the largest counts.
"""

import json
import re
from typing import Final

from budget_middleware.apis.bodies.reading import token_count

_USAGE: Final = re.compile(rb'"(usage|usageMetadata|usage_metadata)"\s{0,8}:\s{0,8}(?=\{)')
# Found much sooner.
_BEGINS: Final = b'"usage'
_MODEL: Final = re.compile(rb'"(model|modelVersion)"\s{0,8}:\s{0,8}"([!#-\[\]-~]{1,256})"')
_MOST_USAGE_BYTES: Final = 16_384
# So much is gathered before it is looked through, and so much of its end again with what follows.
_STEP_BYTES: Final = 262_144
_KEPT_BYTES: Final = 64
# More than any answer has by itself.
_MOST_LOOKS: Final = 64
_MOST_WORDS: Final = 20_000
_parse: Final = json.JSONDecoder().raw_decode


class LongAnswer:
    """Looks through the pieces of an answer that begins with ``begun``."""

    def __init__(self, begun: bytes) -> None:
        self._rest = bytearray(begun)
        self._document: dict[str, object] = {}
        self._most = -1
        self._n_looks = self._n_words = 0
        self._has_begun = False
        if begun:
            self._look(is_end=False)

    def feed(self, piece: bytes) -> None:
        """Take the next piece of it."""
        self._rest += piece
        if len(self._rest) >= _STEP_BYTES:
            self._look(is_end=False)

    def finish(self) -> dict[str, object]:
        """What of it could be found: a usage, and the model that it names; empty without a usage."""
        self._look(is_end=True)
        return self._document if self._most >= 0 and not self._is_flooded else {}

    @property
    def _is_flooded(self) -> bool:
        return self._n_looks >= _MOST_LOOKS or self._n_words >= _MOST_WORDS

    def _look(self, *, is_end: bool) -> None:
        if not self._has_begun:
            self._has_begun = True
            if (model := _MODEL.search(self._rest, 0, _STEP_BYTES)) is not None:
                self._document[model[1].decode()] = model[2].decode()
        kept = max(0, len(self._rest) - _KEPT_BYTES)
        at = self._rest.find(_BEGINS)
        while at >= 0 and not self._is_flooded:
            if not is_end and at + _MOST_USAGE_BYTES > len(self._rest):
                kept = min(kept, at)
                break
            self._n_words += 1
            if (found := _USAGE.match(self._rest, at)) is not None:
                self._take(found[1].decode(), bytes(self._rest[found.end() : found.end() + _MOST_USAGE_BYTES]))
            at = self._rest.find(_BEGINS, at + 1)
        del self._rest[:kept]

    def _take(self, name: str, text: bytes) -> None:
        self._n_looks += 1
        try:
            usage, _ = _parse(text.decode("utf-8", "replace"))
        except (ValueError, RecursionError):
            return
        most = sum(count for value in usage.values() if (count := token_count(value)) is not None)
        if most > self._most:
            self._most = most
            self._document[name] = usage
