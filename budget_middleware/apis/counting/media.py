"""Sizes of images and lengths of recordings, from the beginnings of their files; and what providers count for them.

Each `…_image_tokens` is a provider's documented rule. An image whose size cannot be known counts as the largest
that the provider would not scale down.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from budget_middleware.core.money import ceil_div

Size = tuple[int, int]
ImageRule = Callable[[Size | None, bool], int]

_BYTES_PER_S: Final = 8_000
"""Of compressed speech, as applications usually send it."""
_WORST_BYTES_PER_S: Final = 750
"""Of compressed speech, as far as codecs go: so a recording of so many bytes cannot be longer."""
# The header of a WAV file up to the first field after its format: samples as they are (1), as floating-point numbers
# (3), or what an extension reports (0xFFFE), of which the first two bytes are one of these.
_WAV: Final = struct.Struct("<4sI4s4sIHHIIHH")
_PCM_FORMATS: Final = (1, 3)
_EXTENSIBLE_FORMAT: Final = 0xFFFE
_SUBFORMAT: Final = slice(44, 46)
# What recorders write, with room to spare.
_MAX_CHANNELS: Final = 8
_MAX_SAMPLES_PER_S: Final = 384_000
_SAMPLE_BITS: Final = (8, 16, 24, 32, 64)
# The largest image that OpenAI's first rule leaves as it is.
_NOT_SCALED_DOWN: Final = (2048, 768)
# The start-of-frame segments of JPEG, which hold the size, and those that hold nothing.
_JPEG_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_BARE: Final = frozenset({0x01, *range(0xD0, 0xD9)})
_JPEG_SCAN: Final = 0xDA
_MAX_JPEG_SEGMENTS: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaRules:
    """What an API's models count for media, in tokens. `image` takes the size, and whether low detail is asked for."""

    image: ImageRule
    worst_image_tokens: int
    audio_tokens_per_s: int


def image_size(head: bytes) -> Size | None:
    """Width and height in pixels of a PNG, JPEG, GIF or WebP that begins so; None where they cannot be known."""
    size = None
    if head.startswith(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR") and len(head) >= 24:
        size = int.from_bytes(head[16:20]), int.from_bytes(head[20:24])
    elif head.startswith((b"GIF87a", b"GIF89a")) and len(head) >= 10:
        size = int.from_bytes(head[6:8], "little"), int.from_bytes(head[8:10], "little")
    elif head.startswith(b"RIFF") and head[8:12] == b"WEBP" and len(head) >= 30:
        size = _webp_size(head)
    elif head.startswith(b"\xff\xd8"):
        size = _jpeg_size(head)
    return size if size is not None and min(size) > 0 else None


def _jpeg_size(head: bytes) -> Size | None:
    """The size that the first frame reports; a thumbnail in a segment before it is another image."""
    place = 2
    for _ in range(_MAX_JPEG_SEGMENTS):
        if place + 9 > len(head) or head[place] != 0xFF:
            return None
        marker = head[place + 1]
        if marker in _JPEG_FRAMES:
            return int.from_bytes(head[place + 7 : place + 9]), int.from_bytes(head[place + 5 : place + 7])
        if marker == _JPEG_SCAN:
            return None
        if marker == 0xFF:  # It may be padded.
            place += 1
        elif marker in _JPEG_BARE:
            place += 2
        else:
            place += 2 + int.from_bytes(head[place + 2 : place + 4])
    return None


def _webp_size(head: bytes) -> Size | None:
    match head[12:16]:
        case b"VP8X":
            return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
        case b"VP8L" if head[20] == 0x2F:
            bits = int.from_bytes(head[21:25], "little")
            return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        case b"VP8 " if head[23:26] == b"\x9d\x01\x2a":
            width, height = int.from_bytes(head[26:28], "little"), int.from_bytes(head[28:30], "little")
            return width & 0x3FFF, height & 0x3FFF
        case _:
            return None


def audio_ms(n_bytes: int, head: bytes) -> int:
    """How long a recording is expected to be: exact for plain WAV, else at the usual rate of compressed speech."""
    return ceil_div(n_bytes * 1000, _wav_bytes_per_s(head) or _BYTES_PER_S)


def _wav_bytes_per_s(head: bytes) -> int | None:
    """The rate of a WAV file of plain samples; None where the figures of its header contradict each other.

    Only with plain samples does the header decide how long it plays: in others it is a note that no player reads.
    """
    if len(head) < _WAV.size:
        return None
    riff, _, wave, fmt, fmt_bytes, form, channels, samples_per_s, bytes_per_s, block_bytes, bits = _WAV.unpack_from(
        head
    )
    if form == _EXTENSIBLE_FORMAT:
        form = int.from_bytes(head[_SUBFORMAT], "little")
    is_plain = (riff, wave, fmt) == (b"RIFF", b"WAVE", b"fmt ") and fmt_bytes >= 16 and form in _PCM_FORMATS
    is_sound = 1 <= channels <= _MAX_CHANNELS and 0 < samples_per_s <= _MAX_SAMPLES_PER_S and bits in _SAMPLE_BITS
    is_consistent = block_bytes == channels * bits // 8 and bytes_per_s == samples_per_s * block_bytes
    return bytes_per_s if is_plain and is_sound and is_consistent and bytes_per_s >= _WORST_BYTES_PER_S else None


def worst_audio_ms(n_bytes: int) -> int:
    """The longest that a recording of so many bytes can be."""
    return ceil_div(n_bytes * 1000, _WORST_BYTES_PER_S)


def openai_image_tokens(size: Size | None, is_low: bool) -> int:
    """The larger of two rules, since a model's name does not show which one it has.

    GPT-4o's: 85, and 170 for each tile of 512 pixels of the image fitted into 2048 x 2048 and 768 high. GPT-5.4's: 1.2
    for each patch of 32 pixels, of which there are at most 10,000, or 256 with low detail.
    """
    n_patches = 256 if is_low else min(_tiles(*(size or _NOT_SCALED_DOWN), 32), 10_000)
    by_patches = ceil_div(n_patches * 12, 10)
    return by_patches if is_low else max(85 + 170 * _openai_tiles(size), by_patches)


def gpt_4o_mini_image_tokens(size: Size | None, is_low: bool) -> int:
    """GPT-4o mini's rule: the tiles of GPT-4o, each with 33 times as many tokens. So an image costs the same there."""
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


# GPT-4o mini counts the most tokens for an image: 2,833, and 5,667 for each of eight tiles, which are the most.
OPENAI_MEDIA: Final = MediaRules(image=openai_image_tokens, worst_image_tokens=48_169, audio_tokens_per_s=10)
GPT_4O_MINI_MEDIA: Final = replace(OPENAI_MEDIA, image=gpt_4o_mini_image_tokens)
# Models that see images in high resolution count up to 4,784.
ANTHROPIC_MEDIA: Final = MediaRules(image=anthropic_image_tokens, worst_image_tokens=4_784, audio_tokens_per_s=10)
GEMINI_MEDIA: Final = MediaRules(image=gemini_image_tokens, worst_image_tokens=10_320, audio_tokens_per_s=32)
