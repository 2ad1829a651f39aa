"""Sizes and lengths from how files begin, and the rules of providers."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budget_middleware.apis.counting.media import (
    anthropic_image_tokens,
    audio_ms,
    gemini_image_tokens,
    gpt_4o_mini_image_tokens,
    image_size,
    openai_image_tokens,
    worst_audio_ms,
)

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", 640, 480)
GIF = b"GIF89a" + struct.pack("<HH", 640, 480)
RIFF_WEBP = b"RIFF\0\0\0\0WEBP"
JPEG_HEAD = b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(10)
JPEG = JPEG_HEAD + b"\xff\xc0\x00\x11\x08" + struct.pack(">HH", 480, 640)
WAV = b"RIFF\0\0\0\0WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 2, 44_100, 176_400, 4, 16)


@pytest.mark.parametrize(
    "head",
    [
        PNG,
        GIF,
        JPEG,
        RIFF_WEBP + b"VP8X" + bytes(8) + (639).to_bytes(3, "little") + (479).to_bytes(3, "little"),
        RIFF_WEBP + b"VP8L" + bytes(4) + b"\x2f" + (639 | 479 << 14).to_bytes(4, "little") + bytes(6),
        RIFF_WEBP + b"VP8 " + bytes(7) + b"\x9d\x01\x2a" + struct.pack("<HH", 640, 480),
    ],
)
def test_image_size(head):
    assert image_size(head + bytes(100)) == (640, 480)


@pytest.mark.parametrize(
    "head", [b"", b"%PDF-1.4", PNG[:20], GIF[:8], JPEG_HEAD, RIFF_WEBP + b"VP8X", PNG[:16] + bytes(8)]
)
def test_no_size_can_be_told(head):
    assert image_size(head) is None


@given(st.sampled_from([PNG, GIF, JPEG, RIFF_WEBP, WAV, b""]), st.binary(max_size=60), st.integers(0, 60))
def test_no_bytes_raise(head, rest, cut):
    assert min(image_size(head[:cut] + rest) or (1, 1)) > 0
    assert 0 <= audio_ms(len(rest), head[:cut] + rest) <= worst_audio_ms(len(rest))


@pytest.mark.parametrize(
    ("size", "is_low", "tokens"),
    [
        # By patches, as counted by gpt-5.5 and later: 1,229, 2,448, and 12,000 at most.
        ((1024, 1024), False, 1_229),
        ((1920, 1080), False, 2_448),
        ((4096, 8192), False, 12_000),
        ((4096, 8192), True, 308),
        # By tiles.
        ((100, 100), False, 255),
        ((513, 100), False, 425),
        (None, False, 1_844),
    ],
)
def test_openai_images(size, is_low, tokens):
    assert openai_image_tokens(size, is_low) == tokens


@pytest.mark.parametrize(
    ("size", "is_low", "tokens"),
    [((1024, 1024), False, 25_501), ((2048, 768), False, 48_169), ((4096, 8192), True, 2_833), (None, False, 48_169)],
)
def test_gpt_4o_mini_images(size, is_low, tokens):
    assert gpt_4o_mini_image_tokens(size, is_low) == tokens


@pytest.mark.parametrize(
    ("size", "tokens"), [((200, 200), 54), ((1000, 1000), 1334), ((5000, 5000), 4784), (None, 1600)]
)
def test_anthropic_images(size, tokens):
    assert anthropic_image_tokens(size, is_low=False) == tokens


@pytest.mark.parametrize(("size", "tokens"), [((384, 384), 258), ((385, 100), 258), ((1536, 769), 1032), (None, 1032)])
def test_gemini_images(size, tokens):
    assert gemini_image_tokens(size, is_low=False) == tokens


@pytest.mark.parametrize(
    ("head", "n_bytes", "ms"), [(WAV, 176_400, 1_000), (b"ID3", 8_000, 1_000), (WAV[:20], 8_000, 1_000)]
)
def test_how_long_a_recording_is(head, n_bytes, ms):
    assert audio_ms(n_bytes, head) == ms
