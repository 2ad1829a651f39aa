"""Reading a chunk of a stream by its likeness to those before it, at a small part of what it costs to parse it.

Two chunks of whole events are alike if they differ in nothing but texts and numbers. Which of the texts are generated
text, and that nothing else depends on any of them, is not guessed: it is tried on chunks with others in their place,
which are parsed. What no trial can tell is that a text has no meaning because it is none of a few names, or a number
because it is not large enough. So a text that is not generated must be none that could name something, and a chunk that
tells a usage is parsed.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Final, NamedTuple

from budget_middleware.apis.base import Seen
from budget_middleware.apis.counting import text_bytes_of
from budget_middleware.apis.reading import parse_body
from budget_middleware.apis.sse import EVENT_END

# To try what longer ones are like is dear, and there are few of them.
_LONGEST_LEARNT: Final = 4_096
_MOST_GAPS: Final = 4
# For streams whose chunks are never alike for long.
_MOST_COMPARED: Final = 16

# What is in a JSON string, and a whole number.
_TEXT: Final = re.compile(rb'[^"\\\x00-\x1f]*(?:\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4})[^"\\\x00-\x1f]*)*')
# One that is not generated: names, such as those of events and units, are words of letters of one case, and those that
# are read here have four or more. So one of a hundred random paddings looks like a name, and not one of ten.
_NO_NAME: Final = re.compile(rb'(?!(?:[a-z._]{4,}|[A-Z._]{4,})(?:"|\Z))[^"\\\x00-\x1f]*')
_NUMBER: Final = re.compile(rb"0|[1-9]\d{0,17}")
_BACKSLASH: Final = ord("\\")  # As a number it is found several times as fast.
# The colon of a key may stand in the next line of the data.
_BEHIND_KEY: Final = re.compile(rb"(?:\s|data:?)*:")
_NUMBERS: Final = re.compile(rb"(\d+)")
# Tried in the place of texts, and of numbers.
_TRIALS: Final = (
    (b"", b"0"),
    (b"0", b"0"),
    (b"4711", b"4711"),
    (b"1" * 37, b"1" * 18),
    (rb"\n\u00e9\"\\\ud83d\ude00", b"7"),
)

facts_of = attrgetter(
    *("usage", "usage_text_bytes", "input_usage", "beside", "model", "service_tier", "cost_nanos"),
    *("modes", "uses", "unknown_tools"),
    *("has_results", "has_unread_output", "terminal", "readable", "goes_on_unread", "finish", "doubt", "is_cost_sure"),
)
"""All that an answer has told but its text."""

Parse = Callable[[bytes, Seen], bytes]
"""Reads a chunk of whole events into what was seen so far; returns what the client gets of it."""

Skimmed = tuple[int, bytes]
"""The bytes of generated text in a chunk, and what the client gets of it."""

Skim = Callable[[bytes], Skimmed | None]
"""What a chunk tells that is like those before it; None if it is not."""


class _Gap(NamedTuple):
    """Where chunks that are alike differ, and what stands behind it in all of them."""

    filling: re.Pattern[bytes]
    behind: bytes
    is_generated: bool
    is_cut_behind: bool


def _filling(is_number: bool, is_generated: bool) -> re.Pattern[bytes]:
    if is_number:
        return _NUMBER
    return _TEXT if is_generated else _NO_NAME


def _skim_like(
    beginning: bytes, gaps: Sequence[_Gap], *, fixed_text_bytes: int, cut_start: int, cut_length: int
) -> Skim:
    """For chunks that begin so, then have these gaps. So many bytes are kept from the client, in the part behind one of
    the gaps or, if in none of these, in the beginning.
    """
    *inner, (last_filling, ends_in, is_last_generated, is_cut_at_end) = gaps
    fills_last, length, length_behind_last = last_filling.fullmatch, len(beginning), len(ends_in)

    # Called for nearly every chunk: a closure, and plain tuples, are half the price of methods and names.
    def skim(chunk: bytes) -> Skimmed | None:
        if not chunk.startswith(beginning) or not (chunk.isascii() or _is_utf8(chunk)):
            return None
        at, text_bytes, cut_at = length, fixed_text_bytes, cut_start
        is_plain = _BACKSLASH not in chunk
        for filling, behind, is_generated, is_cut_behind in inner:
            found = filling.match(chunk, at)
            if found is None:
                return None
            end = found.end()
            if not chunk.startswith(behind, end):
                return None
            if is_generated:
                text_bytes += end - at if is_plain else _utf8_bytes(chunk[at:end])
            cut_at += end if is_cut_behind else 0
            at = end + len(behind)
        end = len(chunk) - length_behind_last
        if not chunk.endswith(ends_in) or not fills_last(chunk, at, end):
            return None
        if is_last_generated:
            text_bytes += end - at if is_plain else _utf8_bytes(chunk[at:end])
        if not cut_length:
            return text_bytes, chunk
        cut_at += end if is_cut_at_end else 0
        return text_bytes, chunk[:cut_at] + chunk[cut_at + cut_length :]

    return skim


class Skimmer:
    """Learns from the chunks of one stream that were parsed what those are like that need not be."""

    def __init__(self) -> None:
        self.skim: Skim | None = None
        self._previous = b""
        self._compared = 0

    def learn(self, chunk: bytes, seen: Seen, *, parse: Parse) -> None:
        """Take a chunk of whole events that has been parsed."""
        if b'\\"' in chunk or len(chunk) > _LONGEST_LEARNT or self._compared == _MOST_COMPARED:
            return
        previous, self._previous = self._previous, chunk
        if previous:
            self._compared += 1
            alike = _alike(previous, chunk)
            if alike is not None:
                self.skim = _proven(alike, seen, parse) or self.skim


class _Alike(NamedTuple):
    """A chunk as parts that it has in common with another, and what fills the gaps between these."""

    parts: list[bytes]
    fillings: list[bytes]
    are_numbers: list[bool]

    def filled(self, fillings: Sequence[bytes]) -> bytes:
        """A chunk that is like this one."""
        beginning, *behind = self.parts
        return beginning + b"".join(filling + part for filling, part in zip(fillings, behind, strict=True))

    def tried(self, first: int, step: int) -> bytes:
        """A chunk with trials in its gaps, from one of them on: step 0 puts the same in all gaps, 1 another in each."""
        return self.filled(
            [
                _TRIALS[(first + step * place) % len(_TRIALS)][is_number]
                for place, is_number in enumerate(self.are_numbers)
            ]
        )

    def has_text_in_each_event_that_differs(self, are_generated: Sequence[bool]) -> bool:
        """Whether no event has a gap that has none of generated text."""
        number, with_gaps, with_text = 0, set(), set()
        for part, is_generated in zip(self.parts, are_generated, strict=False):
            # Whether a CR that is last ends a line, its next byte tells.
            number += len(EVENT_END.findall(part + b" "))
            with_gaps.add(number)
            if is_generated:
                with_text.add(number)
        return with_gaps == with_text

    def skim(self, own: Skimmed, are_generated: Sequence[bool]) -> Skim | None:
        """None if what is kept from the client is not in one part."""
        if not self.fillings:
            return lambda chunk: own if chunk == self.parts[0] else None
        text_bytes, forwarded = own
        cut = self._cut(forwarded)
        if cut is None:
            return None
        cut_in, cut_start, cut_length = cut
        beginning, *behind = self.parts
        generated = [filling for filling, is_it in zip(self.fillings, are_generated, strict=True) if is_it]
        return _skim_like(
            beginning,
            [
                _Gap(_filling(is_number, is_generated), part, is_generated, is_cut_behind=place == cut_in)
                for place, (is_number, part, is_generated) in enumerate(
                    zip(self.are_numbers, behind, are_generated, strict=True), start=1
                )
            ],
            fixed_text_bytes=text_bytes - sum(map(_utf8_bytes, generated)),
            cut_start=cut_start,
            cut_length=cut_length,
        )

    def _cut(self, forwarded: bytes) -> tuple[int, int, int] | None:
        """In which part, from where, and how many bytes are not forwarded; None if they are not in one part."""
        chunk = self.filled(self.fillings)
        length = len(chunk) - len(forwarded)
        if length == 0:
            return (0, 0, 0) if forwarded == chunk else None
        pairs = enumerate(zip(chunk, forwarded, strict=False))
        start = next((at for at, (ours, theirs) in pairs if ours != theirs), len(forwarded))
        at = 0
        for place, part in enumerate(self.parts):
            if at <= start and start + length <= at + len(part):
                return place, start - at, length
            at += len(part) + len(self.fillings[place] if place < len(self.fillings) else b"")
        return None


def _proven(alike: "_Alike", seen: Seen, parse: Parse) -> Skim | None:
    """One for what is like the chunk, if it tells of others what parsing them does."""
    chunk = alike.filled(alike.fillings)
    own = _parsed(chunk, seen, parse)
    if own is None:
        return None
    are_generated = [_is_generated(alike, place, own, seen, parse) for place in range(len(alike.fillings))]
    if not alike.has_text_in_each_event_that_differs(are_generated):
        # Then what that event says depends on nothing that was tried, and may depend on what was not.
        return None
    untold = replace(seen, usage=None, input_usage=None, beside=(), cost_nanos=None, terminal=False)
    if _parsed(chunk, untold, parse) is None:
        # It tells again what had been told before, and a usage counts for the text that was read until then.
        return None
    skim = alike.skim(own, are_generated)
    # A set: with one gap both steps make the same.
    trials = {alike.tried(first, step) for first in range(len(_TRIALS)) for step in (0, 1)}
    is_proven = skim is not None and all(skim(one) in (None, _parsed(one, seen, parse)) for one in trials)
    return skim if is_proven else None


def _is_generated(alike: "_Alike", place: int, own: Skimmed, seen: Seen, parse: Parse) -> bool:
    longer = list(alike.fillings)
    longer[place] += b"1"
    parsed = _parsed(alike.filled(longer), seen, parse)
    return parsed is not None and parsed[0] == own[0] + 1


def _parsed(chunk: bytes, seen: Seen, parse: Parse) -> Skimmed | None:
    """What parsing finds in a chunk; None if that is more than some text in one piece."""
    after = replace(seen)
    forwarded = parse(chunk, after)
    text_bytes = after.text_bytes - seen.text_bytes
    is_text_alone = facts_of(after) == facts_of(seen) and after.chunks - seen.chunks == (text_bytes > 0)
    return (text_bytes, forwarded) if is_text_alone and forwarded else None


def _alike(one: bytes, chunk: bytes) -> _Alike | None:
    """How a chunk is like another; None if they differ in more than texts and numbers."""
    if one.count(b'"') != chunk.count(b'"'):
        return None
    ones, others = _pieces(one), _pieces(chunk)
    if len(ones) != len(others):
        return None
    parts, fillings, are_numbers = [bytearray()], [], []
    for (ours, kind), (theirs, their_kind) in zip(ones, others, strict=True):
        if kind is not their_kind or (ours != theirs and kind is None):
            return None
        if ours == theirs:
            parts[-1] += theirs
        else:
            parts.append(bytearray())
            fillings.append(theirs)
            are_numbers.append(kind is _NUMBER)
    return _Alike([bytes(part) for part in parts], fillings, are_numbers) if len(fillings) <= _MOST_GAPS else None


def _pieces(chunk: bytes) -> list[tuple[bytes, object]]:
    """A chunk as texts, numbers, and what is neither of them; keys are none of the texts, for much depends on them."""
    pieces: list[tuple[bytes, object]] = []
    between = chunk.split(b'"')
    for place, piece in enumerate(between):
        if place:
            pieces.append((b'"', None))
        if place % 2:
            is_key = _BEHIND_KEY.match(b"".join(between[place + 1 : place + 2])) is not None
            pieces.append((piece, None if is_key else _TEXT))
        else:
            numbers = _NUMBERS.split(piece)
            pieces += [(part, _NUMBER if index % 2 else None) for index, part in enumerate(numbers)]
    return pieces


def _utf8_bytes(text: bytes) -> int:
    """How long what is in a JSON string is in UTF-8."""
    return text_bytes_of(parse_body(b'"' + text + b'"'))


def _is_utf8(chunk: bytes) -> bool:
    try:
        chunk.decode()
    except UnicodeDecodeError:
        return False
    return True
