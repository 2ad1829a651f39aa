"""What the input of a request counts: text by its bytes, media by rule, base64 never as text."""

import base64
import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budget_middleware.apis.bodies.form import File
from budget_middleware.apis.counting.input import (
    NAMED_DOCUMENT_TOKENS,
    PAGE_TOKENS,
    VIDEO_TOKENS,
    count_input,
    has_server_tools,
    text_bytes_of,
)
from budget_middleware.apis.counting.media import ANTHROPIC_MEDIA, GEMINI_MEDIA, OPENAI_MEDIA
from budget_middleware.core.costs.pricing import Usage
from tests.apis.timing import cpu_ms

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda children: st.lists(children) | st.dictionaries(st.text(st.characters()), children),
)
PNG = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + struct.pack(">II", 1024, 1024) + bytes(100_000)
WAV = b"RIFF\0\0\0\0WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 24_000, 48_000, 2, 16) + bytes(480_000)
BASE64 = {name: base64.b64encode(data).decode() for name, data in (("png", PNG), ("wav", WAV), ("pdf", bytes(120_000)))}
URL = "https://example.com/a.png"


def counted(value, rules=OPENAI_MEDIA):
    return count_input(value, rules).usages(0)[0]


class TestText:
    @pytest.mark.parametrize(
        ("value", "n_bytes"),
        [
            (None, 0),
            (True, 0),
            (12, 0),
            ("abc", 3),
            ("äöü", 6),
            ("\ud800", 3),
            (["ab", ["c", None]], 3),
            ({"key": "value", "more": {"k": 1}}, 13),
            ({"type": []}, 4),
        ],
    )
    def test_bytes(self, value, n_bytes):
        assert text_bytes_of(value) == n_bytes
        assert count_input(value, OPENAI_MEDIA).text_bytes == n_bytes

    @pytest.mark.parametrize(("value", "tokens"), [([1, 2, 3], 3), ([[1, 2], [3]], 3), ([], 0), ([1.5, "", 7], 2)])
    def test_a_list_of_numbers_is_one_of_tokens(self, value, tokens):
        assert counted(value) == Usage(input_tokens=tokens)

    def test_depth_does_not_matter(self):
        value: object = "text"
        for _ in range(100_000):
            value = [value]
        count = count_input(value, OPENAI_MEDIA)
        assert text_bytes_of(value) == 4
        # Nobody looks so deep: it counts by its length.
        assert count.usages(200_006) == (Usage(input_tokens=50_002), Usage(input_tokens=200_006))

    @given(ANY_JSON)
    def test_no_json_raises_and_no_more_tokens_are_expected_than_there_are_bytes(self, value):
        count = count_input(value, OPENAI_MEDIA)
        expected, worst = count.usages(len(json.dumps(value)))
        assert 0 <= expected.input_tokens <= worst.input_tokens


# Each API's ways to send the image, the sound and the page above, or to name one.
IMAGES = [
    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{BASE64['png']}"}},
    {"type": "image_url", "image_url": f"data:image/png;base64,{BASE64['png']}"},
    {"type": "input_image", "image_url": f"data:image/png;base64,{BASE64['png']}"},
    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": BASE64["png"]}},
    {"inlineData": {"mimeType": "image/png", "data": BASE64["png"]}},
    {"inline_data": {"mime_type": "image/png", "data": BASE64["png"]}},
    {"image": {"format": "png", "source": {"bytes": BASE64["png"]}}},
    {"type": "something-new", "picture": f"data:image/png;base64,{BASE64['png']}"},
]
SOUNDS = [
    {"type": "input_audio", "input_audio": {"data": BASE64["wav"], "format": "wav"}},
    {"type": "audio_url", "audio_url": {"url": f"data:audio/wav;base64,{BASE64['wav']}"}},
    {"inlineData": {"mimeType": "audio/wav", "data": BASE64["wav"]}},
]
DOCUMENTS = [
    {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{BASE64['pdf']}"}},
    {"type": "input_file", "file_data": f"data:application/pdf;base64,{BASE64['pdf']}"},
    {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": BASE64["pdf"]}},
    {"inlineData": {"mimeType": "application/pdf", "data": BASE64["pdf"]}},
    {"document": {"format": "pdf", "name": "a", "source": {"bytes": BASE64["pdf"]}}},
]


class TestMedia:
    @pytest.mark.parametrize("part", IMAGES, ids=lambda part: str(part)[:40])
    def test_an_image_counts_by_its_size(self, part):
        # 32 x 32 patches.
        usage = counted([part])
        assert usage.input_image_tokens == 1_229
        assert usage.input_tokens < usage.input_image_tokens + 30
        assert counted([part], ANTHROPIC_MEDIA).input_image_tokens == 1024 * 1024 // 750 + 1
        assert counted([part], GEMINI_MEDIA).input_image_tokens == 4 * 258

    @pytest.mark.parametrize(
        "part",
        [
            {"type": "image_url", "image_url": {"url": URL, "detail": "low"}},
            {"type": "input_image", "image_url": URL, "detail": "low"},
            {"type": "input_image", "file_id": "file-1", "detail": "low"},
        ],
    )
    def test_low_detail(self, part):
        assert counted([part]).input_image_tokens == 308
        assert counted([{**part, "detail": "high", "image_url": URL}]).input_image_tokens > 1_000

    @pytest.mark.parametrize("part", SOUNDS, ids=lambda part: str(part)[:40])
    def test_sound_counts_by_its_length(self, part):
        assert counted([part]).input_audio_tokens == pytest.approx(100, abs=1)
        assert counted([part], GEMINI_MEDIA).input_audio_tokens == pytest.approx(320, abs=1)

    @pytest.mark.parametrize("part", DOCUMENTS, ids=lambda part: str(part)[:40])
    def test_a_document_counts_by_its_pages(self, part):
        count = count_input([part], OPENAI_MEDIA)
        assert count.usages(0)[0].input_tokens == pytest.approx(3 * PAGE_TOKENS, abs=30)
        assert count.hides_input

    @pytest.mark.parametrize(
        ("part", "tokens"),
        [
            ({"type": "file", "file": {"file_id": "file-1"}}, NAMED_DOCUMENT_TOKENS),
            ({"type": "input_file", "file_url": "https://example.com/a.pdf"}, NAMED_DOCUMENT_TOKENS),
            ({"type": "document", "source": {"type": "file", "file_id": "f"}}, NAMED_DOCUMENT_TOKENS),
            ({"fileData": {"mimeType": "video/mp4", "fileUri": "gs://a/b"}}, VIDEO_TOKENS),
            ({"type": "video_url", "video_url": {"url": "https://example.com/a.mp4"}}, VIDEO_TOKENS),
            ({"type": "audio_url", "audio_url": {"url": "https://example.com/a.mp3"}}, 600),
        ],
    )
    def test_what_is_only_named_hides_its_size(self, part, tokens):
        count = count_input([part], OPENAI_MEDIA)
        assert count.usages(0)[0].input_tokens == pytest.approx(tokens, abs=30)
        assert count.hides_input

    @pytest.mark.parametrize(
        "part",
        [
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "y" * 400}},
            {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "y" * 400}]}},
            {"document": {"format": "txt", "source": {"text": "y" * 400}}},
            {"type": "file", "text": "y" * 400},
            {"type": "image_url", "image_url": None, "text": "y" * 400},
            {"image": "y" * 400},
        ],
    )
    def test_what_is_text_after_all(self, part):
        count = count_input([part], OPENAI_MEDIA)
        assert 100 <= count.usages(0)[0].input_tokens < 130
        assert not count.hides_input

    def test_text_beside_media_counts(self):
        assert counted({"type": "image_url", "image_url": URL, "text": "y" * 400}).input_tokens > 1_500

    @pytest.mark.parametrize("field", ["signature", "thoughtSignature", "thought_signature"])
    def test_the_seal_of_a_thought_is_not_read(self, field):
        assert counted({"thought": "hm", field: "A" * 4_000}).input_tokens < 20


class TestWorst:
    def test_every_byte_that_is_not_media_is_a_token(self):
        body = json.dumps([*IMAGES[:2], *SOUNDS[:1], {"text": "hello"}])
        count = count_input(json.loads(body), OPENAI_MEDIA)
        text_bytes = len(body) - 2 * len(BASE64["png"]) - len(BASE64["wav"])
        assert count.usages(len(body))[1].input_tokens == pytest.approx(
            text_bytes + 2 * OPENAI_MEDIA.worst_image_tokens + len(WAV) // 750 * 10, abs=100
        )

    def test_base64_in_an_unknown_place_is_text_at_worst(self):
        body = json.dumps(IMAGES[-1])
        assert count_input(json.loads(body), OPENAI_MEDIA).usages(len(body))[1].input_tokens > len(BASE64["png"])

    @pytest.mark.parametrize("ttl", ["1h", "5m", None, 3600])
    def test_a_cache_that_lives_for_an_hour_is_dearer_to_write(self, ttl):
        body = [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": ttl}}]
        assert count_input(body, ANTHROPIC_MEDIA).caches_for_an_hour is (ttl == "1h")

    def test_an_image_is_never_dearer_than_at_worst(self):
        huge = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", 2**31, 2**31)
        for rules in (OPENAI_MEDIA, ANTHROPIC_MEDIA, GEMINI_MEDIA):
            count = count_input([], rules)
            count.add_image(File(0, huge).head)
            expected, worst = count.usages(0)
            assert expected.input_tokens <= worst.input_tokens


def test_documents_within_documents_are_not_looked_at_for_each_of_them():
    value: dict[str, object] = {"long": "no file " * 300, "values": [1.5] * 20_000}
    for _ in range(400):
        value = {"type": "document", "source": value}
    assert cpu_ms(lambda: count_input({"messages": [{"content": [value]}]}, OPENAI_MEDIA), runs=1) < 1_000
    count = count_input({"messages": [{"content": [value]}]}, OPENAI_MEDIA)
    assert count.usages(100_000)[0].input_tokens >= 25_000


@pytest.mark.parametrize(
    ("tools", "has"),
    [
        (None, False),
        ([], False),
        ([{"type": "function"}, {"name": "f"}, {"type": "custom"}, {"type": "bash_20250124"}, 7], False),
        ([{"type": "web_search_20250305"}], True),
        ([{"type": "file_search"}], True),
        ([{"type": "mcp"}], True),
    ],
)
def test_tools_that_the_provider_runs(tools, has):
    assert has_server_tools(tools) is has
