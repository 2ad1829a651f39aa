"""The responses of a realtime session that have begun, and those that have ended."""

from typing import Final

from budget_middleware.apis.openai.realtime.events import sound_bytes_of
from budget_middleware.apis.protocol.ended_calls import EndedCalls
from budget_middleware.core.money import ceil_div

# One for each 50 ms, as OpenAI's guide to the costs of realtime has it.
_SPOKEN_TOKENS_PER_S: Final = 20
# Of sound whose form is not known: that of telephones, which has the most tokens a byte.
_FEWEST_BYTES_PER_S: Final = 8_000
_MOST_BEGUN: Final = 1_024  # More than a server works on side by side.


class BegunResponses:
    """Responses by their ids."""

    def __init__(self) -> None:
        # How many bytes a second of their sound has.
        self._bytes_per_s: dict[str, int] = {}
        self._ended = EndedCalls()

    def __contains__(self, id_: str) -> bool:
        return id_ in self._bytes_per_s

    def begin(self, id_: str, *, bytes_per_s: int) -> None:
        """One has begun, of which a second of sound has so many bytes."""
        self._ended.discard(id_)
        if len(self._bytes_per_s) < _MOST_BEGUN:
            self._bytes_per_s[id_] = bytes_per_s

    def end(self, id_: str) -> None:
        """One has ended."""
        self._bytes_per_s.pop(id_, None)
        self._ended.add(id_)

    def has_ended(self, id_: str) -> bool:
        """Whether one has ended, and not begun again."""
        return id_ in self._ended

    def spoken_tokens(self, id_: str, data: bytes) -> int:
        """The tokens of the sound in an event of one."""
        bytes_per_s = self._bytes_per_s.get(id_, _FEWEST_BYTES_PER_S)
        return ceil_div(sound_bytes_of(data) * _SPOKEN_TOKENS_PER_S, bytes_per_s)
