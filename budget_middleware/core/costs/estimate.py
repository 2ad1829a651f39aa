"""How many tokens a request may use: by its length in bytes, and by the maximum that it names."""

import unicodedata
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Final

from msgspec import Struct

# Tokenizers come to about four bytes a token for English text and code; other scripts take two or three bytes
# a character and a token for each one or two. Close enough to hold by: the cost is booked from the usage.
BYTES_PER_TOKEN: Final = 4
# Larger than any window that models had when this was written; for those whose window is not known.
LARGEST_CONTEXT_TOKENS: Final = 2_000_000
# So much text is normalized to tell how it grows; what is beyond that is taken to grow as U+FDFA does: 3 bytes to 33.
_NORMALIZED_CHARS: Final = 100_000
_LARGEST_GROWTH: Final = 10
_PIECE_CHARS: Final = 256
# Marks behind a cut may keep a letter from merging with up to three marks before it, and so make the whole longer.
_MOST_LOST_AT_A_CUT: Final = 16


class GrowthPlan(Struct, frozen=True, gc=False):
    """How the hold of an answer grows when the answer outgrows it. Tokens are those of all choices together.

    ``held_tokens`` is the output that the hold covers from the start, ``cap_tokens`` the most that the answer can come
    to: the maximum that it named, and its model's. ``nanos_of`` is the whole amount to hold where output comes to so
    many tokens, the input included; ``input_tokens`` is that input. ``tokens_per_s`` is how fast the model usually
    writes, for an answer that shows nothing yet.
    """

    held_tokens: int
    cap_tokens: int
    nanos_of: Callable[[int], int]
    tokens_per_s: float
    input_tokens: int = 0


class EstimateBy(StrEnum):
    """Whether a reservation is what answers usually come to, what a fixed rule expects, or an upper bound."""

    LEARNED = "learned"
    EXPECTED = "expected"
    WORST = "worst"


def tokens_from_text_bytes(n_bytes: int) -> int:
    """The expected tokens of so many bytes of UTF-8 text. No tokenizer makes more tokens than bytes are given to it."""
    return -(-n_bytes // BYTES_PER_TOKEN)


def tokens_from_normalizing(texts: Iterable[str]) -> int:
    """The most tokens that texts can have beyond their bytes, where a tokenizer normalizes them first (NFKC)."""
    n_tokens, left = 0, _NORMALIZED_CHARS
    for text in texts:
        begin, rest = text[:left], text[left:]
        n_tokens += sum(map(_bytes_from_normalizing, _pieces(begin)))
        marks_behind_cuts = [char for char in begin[_PIECE_CHARS::_PIECE_CHARS] if unicodedata.combining(char)]
        n_tokens += _MOST_LOST_AT_A_CUT * len(marks_behind_cuts)
        # Normalizing keeps the event loop waiting; to tell that there is nothing to do takes a tenth of that.
        if rest and not all(map(_is_normalized, _pieces(rest))):
            n_tokens += _LARGEST_GROWTH * _utf8_bytes(rest)
        left = max(0, left - len(text))
    return n_tokens


def _pieces(text: str) -> Iterable[str]:
    """Short ones: to put combining marks in order takes time by the square of how many follow each other."""
    return (text[at : at + _PIECE_CHARS] for at in range(0, len(text), _PIECE_CHARS))


def _is_normalized(text: str) -> bool:
    return unicodedata.is_normalized("NFKC", text)


def _bytes_from_normalizing(text: str) -> int:
    return max(0, _utf8_bytes(unicodedata.normalize("NFKC", text)) - _utf8_bytes(text))


def _utf8_bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def output_tokens_seen(*, text_bytes: int, chunks: int) -> int:
    """The expected tokens of an answer so far; every chunk with text holds a token at least."""
    return max(tokens_from_text_bytes(text_bytes), chunks)


def output_ceiling(*, asked: int | None, default: int, model_ceiling: int | None, choices: int, by: EstimateBy) -> int:
    """The output tokens to reserve for all choices: the maximum that is asked for, else `default`.

    At worst, a model that is asked for no maximum goes to its ceiling. No model goes beyond it, whatever is asked;
    where it is not known, no model is believed to write more than LARGEST_CONTEXT_TOKENS.
    """
    if asked is None:
        asked = model_ceiling if by is EstimateBy.WORST and model_ceiling is not None else default
    return min(asked, LARGEST_CONTEXT_TOKENS if model_ceiling is None else model_ceiling) * choices
