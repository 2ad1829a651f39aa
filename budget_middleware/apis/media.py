"""How large an image is and how long a recording, told from how the file begins; and what providers count for them.

Each `…_image_tokens` is a provider's documented rule. An image whose size cannot be told counts as the largest
that the provider would not scale down.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from budget_middleware.core.money import ceil_div

Size = tuple[int, int]
ImageRule = Callable[[Size | None, bool], int]

# Speech compressed as applications send it, and as far as codecs go.
_BYTES_PER_S: Final = 8_000
_WORST_BYTES_PER_S: Final = 750
_WAV_HEADER_BYTES: Final = 32
# The largest image that OpenAI's first rule leaves as it is.
_NOT_SCALED_DOWN: Final = (2048, 768)
# The start-of-frame segments of JPEG, which hold the size.
_JPEG_FRAME: Final = re.compile(rb"\xff[\xc0-\xc3\xc5-\xc7\xc9-\xcb\xcd-\xcf]..\x08(..)(..)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaRules:
    """What an API's models count for media, in tokens. `image` takes the size, and whether low detail is asked for."""

    image: ImageRule
    worst_image_tokens: int
    audio_tokens_per_s: int


def image_size(head: bytes) -> Size | None:
    """Width and height in pixels of a PNG, JPEG, GIF or WebP that begins so; None where they cannot be told."""
    if head.startswith(b"\x89PNG\r\n\x1a\n") and len(head) >= 24:
        size = int.from_bytes(head[16:20]), int.from_bytes(head[20:24])
    elif head.startswith(b"GIF8") and len(head) >= 10:
        size = int.from_bytes(head[6:8], "little"), int.from_bytes(head[8:10], "little")
    elif head.startswith(b"RIFF") and head[8:12] == b"WEBP" and len(head) >= 30:
        size = _webp_size(head)
    elif head.startswith(b"\xff\xd8") and (frame := _JPEG_FRAME.search(head)):
        size = int.from_bytes(frame[2]), int.from_bytes(frame[1])
    else:
        return None
    return size if min(size) > 0 else None


def _webp_size(head: bytes) -> Size:
    match head[12:16]:
        case b"VP8X":
            return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
        case b"VP8L":
            bits = int.from_bytes(head[21:25], "little")
            return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        case _:
            width, height = int.from_bytes(head[26:28], "little"), int.from_bytes(head[28:30], "little")
            return width & 0x3FFF, height & 0x3FFF


def audio_ms(n_bytes: int, head: bytes) -> int:
    """How long a recording is expected to be: exact for plain WAV, else at the usual rate of compressed speech."""
    if head.startswith(b"RIFF") and head[8:12] == b"WAVE" and len(head) >= _WAV_HEADER_BYTES:
        bytes_per_s = int.from_bytes(head[28:32], "little")
        if bytes_per_s >= _WORST_BYTES_PER_S:
            return ceil_div(n_bytes * 1000, bytes_per_s)
    return ceil_div(n_bytes * 1000, _BYTES_PER_S)


def worst_audio_ms(n_bytes: int) -> int:
    """The longest that a recording of so many bytes can be."""
    return ceil_div(n_bytes * 1000, _WORST_BYTES_PER_S)


def openai_image_tokens(size: Size | None, is_low: bool) -> int:
    """The larger of two rules, for which of them a model has its name does not tell.

    GPT-4o's: 85, and 170 for each tile of 512 pixels of the image fitted into 2048 x 2048 and 768 high. GPT-5.4's: 1.2
    for each patch of 32 pixels, of which there are at most 10,000, or 256 with low detail.
    """
    if is_low:
        return 308
    by_patches = min(_tiles(*(size or _NOT_SCALED_DOWN), 32), 10_000)
    return max(85 + 170 * _openai_tiles(size), ceil_div(by_patches * 12, 10))


def gpt_4o_mini_image_tokens(size: Size | None, is_low: bool) -> int:
    """GPT-4o mini's rule: GPT-4o's tiles, with 33 times as many tokens, which cost as much."""
    return 2_833 + (0 if is_low else 5_667 * _openai_tiles(size))


def _openai_tiles(size: Size | None) -> int:
    width, height = size or _NOT_SCALED_DOWN
    scale = min(1, 2048 / max(width, height), 768 / min(width, height))
    return _tiles(width * scale, height * scale, 512)


def anthropic_image_tokens(size: Size | None, is_low: bool) -> int:  # noqa: ARG001 - it knows no detail
    """Claude's rule: one for 750 pixels; images are scaled down to some 1,600, or 4,784 where it sees more of them."""
    return 1_600 if size is None else min(ceil_div(size[0] * size[1], 750), 4_784)


def gemini_image_tokens(size: Size | None, is_low: bool) -> int:
    """Gemini's rule: 258 for a small image, and for each tile of 768 pixels of a larger one."""
    width, height = size or (1536, 1536)
    if is_low or max(width, height) <= 384:
        return 258
    return 258 * _tiles(width, height, 768)


def _tiles(width: float, height: float, side: int) -> int:
    return max(1, -int(-width // side)) * max(1, -int(-height // side))


# GPT-4o mini counts an image dearest, of which there are eight tiles at most.
OPENAI_MEDIA: Final = MediaRules(image=openai_image_tokens, worst_image_tokens=48_169, audio_tokens_per_s=10)
GPT_4O_MINI_MEDIA: Final = replace(OPENAI_MEDIA, image=gpt_4o_mini_image_tokens)
# Models that see images in high resolution count up to 4,784.
ANTHROPIC_MEDIA: Final = MediaRules(image=anthropic_image_tokens, worst_image_tokens=4_784, audio_tokens_per_s=10)
GEMINI_MEDIA: Final = MediaRules(image=gemini_image_tokens, worst_image_tokens=10_320, audio_tokens_per_s=32)
