"""Reads ordinary answers and events of streams at a fraction of what any other costs: the fast path of every dialect.

Theory of operation
===================

Nearly every event of a stream says the same few things: a piece of text, the model, perhaps a usage. The full reader
(`Api.read_event`) parses an event into dictionaries and looks for everything that any provider may have put there,
which takes 10 to 70 us. So each dialect declares, in its own file, what its ordinary event is: a subclass of
`OrdinaryEvent` with the few fields that are read and their types. A typed decoder then checks in one pass, without
making any other object, whether an event is ordinary, and if so what it holds:

    data ──> is it short, UTF-8, and of this type? ──yes──> event.add_to(seen)          about 2 us
                            └────────no (or cannot tell)──> api.read_event(data, seen)  the full reader

**The rule that makes this safe: a decoder accepts nothing that it does not understand in full.** An ordinary event adds
to `Seen` exactly what the full reader would; the tests compare the two on random events of all dialects. So:

- A field that the full reader looks at is declared, with the narrowest type that `add_to` handles. Where its presence
  alone is out of the ordinary, its type is `None`: absent or null, anything else takes the full reader.
- In an object that may hold generated text, fields that are not declared are refused (`forbid_unknown_fields`), for
  text in a field that nobody knows makes the output unreadable. Fields known to hold no output are `Ignored`.
- Elsewhere, fields that the full reader does not look at are passed over, as it does.
- The decoder does not look into what it passes over, and the full reader does: it refuses invalid UTF-8, and numbers of
  thousands of digits. So the bytes are checked for both.
- No ordinary event ends the answer: `add_to` never sets `Seen.terminal`.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Annotated, Final, Self

import msgspec

from budget_middleware.apis.bodies.reading import MAX_NAME, MAX_TOKENS
from budget_middleware.apis.protocol.seen import Seen

MAX_BYTES: Final = 65_536
"""The longest that may be ordinary. What is longer is weighed before it is parsed."""
# Python refuses numbers of more than 4,300 digits. One covers a multiple of this, and as many bytes around it.
_DIGITS_STEP: Final = 2_048
_DIGITS_AROUND: Final = 16

Ignored = msgspec.Raw
"""The type of a field that holds no output: whatever it holds is passed over."""

Name = Annotated[str, msgspec.Meta(max_length=MAX_NAME)]
"""A text that `reading.name_in` takes for a name, or an empty one."""

Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_TOKENS)]
"""A number that `reading.token_count` believes."""

Zero = Annotated[int, msgspec.Meta(ge=0, le=0)]
"""A count that matters if it is not 0."""


class EventPart(msgspec.Struct, gc=False):
    """An object in an event. It cannot be part of a cycle, so it needs no garbage collector, and is cheaper without."""


class OrdinaryEvent(EventPart):
    """What one ordinary event of a stream holds, or an ordinary answer that comes whole."""

    def add_to(self, seen: Seen) -> None:
        """Add what the event says to `seen`."""
        raise NotImplementedError

    def without_usage(self, data: bytes) -> bytes | None:
        """The data for a client that asked for no usage; None if the full reader has to decide."""
        return data


class FailureFields(EventPart):
    """The fields by which `failures.read_failure` knows an error, all but `type` and `object`: absent or null."""

    error: None = None
    errors: None = None
    success: None = None
    base_resp: None = None
    detail: None = None
    status: None = None
    code: None = None
    error_code: None = None


class OrdinaryReader:
    """Decodes the ordinary events of one dialect."""

    def __init__(self, kind: type[OrdinaryEvent]) -> None:
        self._decode: Callable[[bytes | bytearray], OrdinaryEvent] = msgspec.json.Decoder(kind).decode

    @classmethod
    @lru_cache
    def of(cls, kind: type[OrdinaryEvent]) -> Self:
        """The reader of a type of events, made once."""
        return cls(kind)

    def read(self, data: bytes | bytearray) -> OrdinaryEvent | None:
        """The event, or whole answer, if it is an ordinary one."""
        if not (data.isascii() or is_utf8(data)) or (len(data) > _DIGITS_STEP and may_hold_long_number(data)):
            return None
        try:
            return self._decode(data)
        except (ValueError, RecursionError):
            return None


def may_hold_long_number(data: bytes | bytearray) -> bool:
    """Whether Python might refuse a number in it for its digits, or it is too long to be ordinary."""
    if len(data) > MAX_BYTES:
        return True
    places = range(_DIGITS_STEP, len(data), _DIGITS_STEP)
    return any(data[at - _DIGITS_AROUND : at + _DIGITS_AROUND].isdigit() for at in places)


def is_utf8(data: bytes | bytearray) -> bool:
    """Whether the bytes are UTF-8."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
