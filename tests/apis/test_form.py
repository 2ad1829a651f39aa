"""Forms, read where they lie."""

import tracemalloc

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from budget_middleware.apis.form import HEAD_BYTES, MAX_FIELD_BYTES, MAX_PARTS, File, Form, parse_form
from budget_middleware.apis.reading import list_of

TYPE = b"multipart/form-data; boundary=xyz"


def encoded(*, data, files):
    """A form as an HTTP client writes it."""
    request = httpx.Request("POST", "http://x", data=data, files=files)
    return request.read(), request.headers["content-type"].encode()


def part(name, value, more=""):
    return f'--xyz\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n{value}\r\n'


def parse(raw, content_type=TYPE, n_bytes=0):
    raw = raw.encode() if isinstance(raw, str) else raw
    return parse_form(raw, content_type, n_bytes=n_bytes)


def test_fields_and_files():
    raw, content_type = encoded(
        data={"model": "whisper-1", "prompt": "größe", "n": "2"},
        files=[("file", ("a.wav", b"RIFF" + bytes(100_000), "audio/wav")), ("file", ("b.wav", b"\r\n--", "audio/wav"))],
    )
    form = parse(raw, content_type, len(raw))
    assert isinstance(form, Form)
    files = list_of(form.pop("file"))
    assert form == {"model": "whisper-1", "prompt": "größe", "n": "2"}
    assert files == [File(100_004, b"RIFF" + bytes(HEAD_BYTES - 4)), File(4, b"\r\n--")]


def test_of_a_body_that_was_not_read_to_its_end_the_file_is_the_rest():
    raw, content_type = encoded(data={"model": "whisper-1"}, files={"file": ("a.mp3", bytes(50_000))})
    form = parse(raw[:10_000], content_type, len(raw))
    assert form is not None
    (file,) = list_of(form["file"])
    assert isinstance(file, File)
    assert form["model"] == "whisper-1"
    assert 50_000 <= file.n_bytes < 50_100


@pytest.mark.parametrize(
    "content_type", [b'multipart/form-data; charset=utf-8; boundary="xyz"', b"Multipart/Form-Data;Boundary=xyz"]
)
def test_boundaries(content_type):
    assert parse(part("a", "b") + "--xyz--", content_type) == {"a": "b"}


@pytest.mark.parametrize(
    "content_type",
    [
        b"",
        b"application/json",
        b"multipart/form-data",
        b"multipart/form-data; boundary=",
        b"multipart/mixed; boundary=xyz",
    ],
)
def test_what_is_no_form(content_type):
    assert parse(part("a", "b"), content_type) is None


@pytest.mark.parametrize(
    ("raw", "fields"),
    [
        ("", {}),
        ("--xyz--", {}),
        ("no boundary", {}),
        (part("a", "1") + part("a", "2") + "--xyz--\r\n" + part("b", "3"), {"a": "2"}),
        ("preamble\r\n" + part("a", "1") + "--xyz--", {"a": "1"}),
        (part("a", "1"), {"a": "1\r\n"}),
        (part("", "x") + "--xyz--", {"": "x"}),
        ("--xyz\r\nContent-Disposition: form-data; NAME=a\r\n\r\n1\r\n--xyz--", {"a": "1"}),
        ("--xyz\r\nX: y\r\n\r\nno name\r\n" + part("a", "1") + "--xyz--", {"a": "1"}),
        ("--xyz\r\nno end of headers", {}),
        (part("a", "x" * (MAX_FIELD_BYTES + 1)) + part("b", "1") + "--xyz--", {"b": "1"}),
        (part("f", "abc", '; filename="x"') + "--xyz--", {"f": [File(3, b"abc")]}),
        (part("f", "abc", "; filename*=UTF-8''x") + "--xyz--", {"f": [File(3, b"abc")]}),
    ],
)
def test_odd_forms(raw, fields):
    assert parse(raw, n_bytes=len(raw)) == fields


@given(
    st.lists(
        st.sampled_from(
            [b"--xyz", b"--", b"\r\n", b"\r\n\r\n", b'; name="a"', b"; filename=b", b"Content-Disposition: f", b"x"]
        ),
        max_size=20,
    ).map(b"".join),
    st.integers(-1, 100),
)
def test_no_bytes_raise(raw, n_bytes):
    form = parse(raw, n_bytes=n_bytes)
    assert form is not None
    assert all(file.n_bytes >= 0 for files in form.values() if isinstance(files, list) for file in files)


def test_parts_and_memory_are_bounded():
    raw = (part("a", "1") * 100_000).encode()
    assert len(raw) > 5_000_000
    tracemalloc.start()
    try:
        form = parse_form(b"".join([part(f"n{n}", "1").encode() for n in range(MAX_PARTS * 2)]), TYPE, n_bytes=0)
        parse_form(raw, TYPE, n_bytes=0)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    assert form is not None
    assert len(form) == MAX_PARTS
