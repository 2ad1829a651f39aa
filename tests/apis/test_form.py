"""Forms: one reading, which is also the app's, or none."""

import asyncio
import tracemalloc
from contextlib import suppress
from typing import Any

import httpx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import Request

from budget_middleware.apis.bodies.form import (
    HEAD_BYTES,
    MAX_FIELD_BYTES,
    MAX_PARTS,
    File,
    Form,
    FormReader,
    UnclearFormError,
    boundary_of,
    files_in,
    is_urlencoded,
    names_in_urlencoded,
    parse_urlencoded,
)
from tests.apis.timing import cpu_ms, grows_linearly
from tests.examples import examples

TYPE = b"multipart/form-data; boundary=xyz"


def encoded(*, data, files):
    """A form as an HTTP client writes it."""
    request = httpx.Request("POST", "http://x", data=data, files=files)
    return request.read(), request.headers["content-type"].encode()


def part(name, value, more="", headers=""):
    return f'--xyz\r\nContent-Disposition: form-data; name="{name}"{more}\r\n{headers}\r\n{value}\r\n'


def parse(raw, content_type=TYPE, step=0) -> Form:
    raw = raw.encode() if isinstance(raw, str) else raw
    boundary = boundary_of([content_type])
    assert boundary is not None
    reader = FormReader(boundary)
    for start in range(0, len(raw), step or len(raw) or 1):
        reader.feed(raw[start : start + (step or len(raw))])
    return reader.finish()


@pytest.mark.parametrize("step", [0, 1, 1_000, 65_536])
def test_fields_and_files(step):
    raw, content_type = encoded(
        data={"model": "whisper-1", "prompt": "größe", "n": "2", "include[]": ["logprobs", "x"]},
        files=[("file", ("a.wav", b"RIFF" + bytes(100_000), "audio/wav")), ("file", ("b.wav", b"\r\n--", "audio/wav"))],
    )
    form = parse(raw, content_type, step)
    files = files_in(form)
    assert form.pop("file") == files
    assert form == {"model": "whisper-1", "prompt": "größe", "n": "2", "include[]": ["logprobs", "x"]}
    assert files == [File(100_004, b"RIFF" + bytes(HEAD_BYTES - 4)), File(4, b"\r\n--")]


@pytest.mark.parametrize(
    "content_type",
    [
        b'multipart/form-data; charset=utf-8; boundary="xyz"',
        b"Multipart/Form-Data;Boundary=xyz",
        b"multipart/form-data ; boundary=xyz",
    ],
)
def test_boundaries(content_type):
    assert parse(part("a", "b") + "--xyz--", content_type) == {"a": "b"}


def test_a_boundary_with_that_word_in_it():
    boundary = b"----WebKitFormBoundary7MA4YWxkTrZu0gW"
    assert boundary_of([b"multipart/form-data; boundary=" + boundary]) == boundary


@pytest.mark.parametrize("content_type", [b"", b"application/json", b"multipart/mixed; boundary=xyz"])
def test_what_is_no_form(content_type):
    assert boundary_of([content_type]) is None
    assert boundary_of([]) is None


@pytest.mark.parametrize(
    "content_types",
    [
        [b"multipart/form-data"],
        [b"multipart/form-data; boundary="],
        [b"multipart/form-data; boundary=xyz; boundary=abc"],
        [b"multipart/form-data; boundary=xyz; boundary*=utf-8''abc"],
        [b"multipart/form-data; boundary*0=xy; boundary*1=z"],
        [b'multipart/form-data; boundary="x\\"yz"'],
        [b'multipart/form-data; boundary="xyz'],
        [b"multipart/form-data; boundary=" + b"x" * 71],
        [b"multipart/form-data; boundary=x\xffz"],
        [b"multipart/form-data; boundary=xyz; charset=utf-7"],
        [b"multipart/form-data; boundary=xyz; charset=nobodys"],
        [b"multipart/form-data; boundary=xyz", b"application/json"],
        [b"application/json", b"multipart/form-data; boundary=xyz"],
    ],
)
def test_f44_unclear_boundaries(content_types):
    with pytest.raises(UnclearFormError, match=r"^the form is unclear: [^\n]+$"):
        boundary_of(content_types)


@pytest.mark.parametrize(
    ("raw", "fields"),
    [
        ("--xyz--", {}),
        (part("a", "1") + "--xyz--\r\n" + part("b", "3"), {"a": "1"}),
        ("\r\n" + part("a", "1") + "--xyz--", {"a": "1"}),
        (part("", "x") + "--xyz--", {"": "x"}),
        ("--xyz\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--xyz--", {"a": "1"}),
        (part("a[]", "1") + part("a[]", "2") + "--xyz--", {"a[]": ["1", "2"]}),
        (part("f", "abc", '; filename="x"') + "--xyz--", {"f": [File(3, b"abc")]}),
        (part("f", "abc", '; filename=""') + "--xyz--", {"f": [File(3, b"abc")]}),
        (part("f", "abc", "; filename*=UTF-8''x") + "--xyz--", {"f": [File(3, b"abc")]}),
        (part("a", "1", headers="Content-Type: text/plain; charset=UTF-8\r\n") + "--xyz--", {"a": "1"}),
    ],
)
def test_odd_forms(raw, fields):
    assert parse(raw) == fields


UNCLEAR = {
    "nothing": "",
    "no boundary": "no boundary",
    "JSON": '{"model": "gpt-5-pro"}',
    "text before it": "preamble\r\n" + part("a", "1") + "--xyz--",
    "no last boundary": part("a", "1"),
    "another boundary": part("a", "1").replace("--xyz", "--abc") + "--abc--",
    "a field twice": part("a", "1") + part("a", "2") + "--xyz--",
    "a field and a file": part("a", "1") + part("a", "2", '; filename="x"') + "--xyz--",
    "a file and a field": part("a", "2", '; filename="x"') + part("a", "1") + "--xyz--",
    "a file and a field of many": part("a[]", "2", '; filename="x"') + part("a[]", "1") + "--xyz--",
    "a field of many and a file": part("a[]", "1") + part("a[]", "2", '; filename="x"') + "--xyz--",
    "no name": "--xyz\r\nX: y\r\n\r\nno name\r\n--xyz--",
    "two names": part("a", "1", '; name="b"') + "--xyz--",
    "another way to write its name": part("a", "1", "; name*=utf-8''b") + "--xyz--",
    "two dispositions": part("a", "1", headers='content-disposition: form-data; name="b"\r\n') + "--xyz--",
    "base64": part("a", "1", headers="Content-Transfer-Encoding: base64\r\n") + "--xyz--",
    "UTF-16": part("a", "1", headers="Content-Type: text/plain; charset=utf-16\r\n") + "--xyz--",
    "no end of headers": "--xyz\r\nno end of headers",
    "too long a field": part("a", "x" * (MAX_FIELD_BYTES + 1)) + "--xyz--",
    "too long fields": "".join(part(f"n{n}", "x" * MAX_FIELD_BYTES) for n in range(5)) + "--xyz--",
    "too many parts": "".join(part(f"n{n}", "1") for n in range(MAX_PARTS + 1)) + "--xyz--",
}


@pytest.mark.parametrize("raw", UNCLEAR.values(), ids=UNCLEAR)
@pytest.mark.parametrize("step", [0, 7])
def test_f44_unclear_forms(raw, step):
    with pytest.raises(UnclearFormError, match=r"^the (form|field) [^\n]{5,120}$"):
        parse(raw[:100_000] if step and len(raw) > 100_000 else raw, step=step)


@pytest.mark.parametrize("unit", ["boundary*", ";boundary", "boundary ", ";a=", ';"'])
def test_f44_a_long_content_type_takes_linear_time(unit):
    def read(value: str) -> None:
        with suppress(UnclearFormError):
            boundary_of([value.encode()])

    assert grows_linearly(read, unit, start="multipart/form-data; ", at_most_ms=400)


@pytest.mark.parametrize("unit", [";name*", ";filename*", "; name", ";name*a=b"])
def test_f44_so_do_the_headers_of_parts(unit):
    disposition = f"form-data{unit * (4_000 // len(unit))}"
    raw = f"--xyz\r\nContent-Disposition: {disposition}\r\n\r\nx\r\n--xyz--".encode()

    def read() -> None:
        with suppress(UnclearFormError):
            parse(raw)

    # One of a thousand such parts.
    assert cpu_ms(read) < 20


def test_memory_is_bounded():
    file = part("f", "", '; filename="x"').encode()
    tracemalloc.start()
    try:
        reader = FormReader(b"xyz")
        for n in range(MAX_PARTS):
            reader.feed(file.replace(b'"f"', b'"f%d"' % n)[:-2] + b"x" * 50_000 + b"\r\n")
        reader.feed(b"--xyz--")
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
    files = files_in(reader.finish())
    assert len(files) == MAX_PARTS
    assert all(file.n_bytes == 50_000 for file in files)


class TestUrlencoded:
    def test_fields(self):
        assert parse_urlencoded(b"model=gpt%2D4o&messages=a+b%26&x") == {"model": "gpt-4o", "messages": "a b&", "x": ""}
        assert is_urlencoded(b"Application/X-WWW-Form-Urlencoded; charset=utf-8")
        assert not is_urlencoded(b"application/json")

    @pytest.mark.parametrize("raw", [b"a=1&a=2", b"a=1;b=2", b"&".join(b"%d=1" % n for n in range(MAX_PARTS + 1))])
    def test_f44_unclear(self, raw):
        with pytest.raises(UnclearFormError):
            parse_urlencoded(raw)

    def test_names_that_a_parser_would_find(self):
        assert {"model", "x"} < names_in_urlencoded(b'{"model":"cheap","x":"&mod%65l=dear;x=1&y="}')
        with pytest.raises(UnclearFormError, match="send application/json"):
            names_in_urlencoded(b"&" * MAX_PARTS)


# The same bytes as Starlette reads them, which is what FastAPI and LiteLLM read.


async def starlettes(raw: bytes, content_type: bytes) -> list[tuple[str, Any]] | None:
    async def receive():
        return {"type": "http.request", "body": raw, "more_body": False}

    request = Request({"type": "http", "method": "POST", "headers": [(b"content-type", content_type)]}, receive)
    try:
        async with request.form() as form:
            return [
                (name, value.size if isinstance(value, UploadFile) else value) for name, value in form.multi_items()
            ]
    except (MultiPartException, HTTPException, ValueError):
        return None


def ours(raw: bytes, content_type: bytes) -> list[tuple[str, Any]] | None:
    try:
        form = parse_urlencoded(raw) if is_urlencoded(content_type) else parse(raw, content_type)
    except UnclearFormError:
        return None
    pairs = [(name, each) for name, value in form.items() for each in (value if isinstance(value, list) else [value])]
    return [(name, each.n_bytes if isinstance(each, File) else each) for name, each in pairs]


PIECES = [
    *(b"--xyz", b"--", b"\r\n", b"\n", b"\r\n\r\n", b"--xyz\r\n", b"\r\n--xyz--", b"--xyz--\r\n", b" ", b"x", b"\xff"),
    b'Content-Disposition: form-data; name="a"',
    b'content-disposition: form-data; name="b"; filename="c"',
    b"Content-Disposition: form-data; name=a; name=b",
    b"Content-Disposition: form-data; name*=utf-8''b; name=a",
    b"Content-Disposition: form-data; filename*=utf-8''b; name=a",
    b'Content-Disposition: form-data; name="a\\"; filename="b"',
    b"Content-Type: text/plain; charset=utf-16",
    *(b"Content-Transfer-Encoding: base64", b'; name="b"', b"; filename=b", b"model", b"gpt-5-pro", b"caf\xc3\xa9"),
]
ODD_PART = st.lists(st.sampled_from(PIECES), max_size=6).map(b"".join)
GOOD_PART = st.builds(
    lambda name, more, value: (
        b'--xyz\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n' % (name, more, value)
    ),
    st.sampled_from([b"a", b"b", b"a[]", b"model", b"", b"\xff"]),
    st.sampled_from([b"", b'; filename="c"', b"; filename*=utf-8''c", b'; name="z"']),
    st.sampled_from([b"", b"1", b"\r\n", b"--xy", b"caf\xc3\xa9", b"\xff"]),
)
BODIES = (
    st.lists(GOOD_PART | ODD_PART, max_size=5)
    .map(b"".join)
    .flatmap(
        lambda body: st.sampled_from([body, body + b"--xyz--", body + b"--xyz--\r\n", b"\r\n" + body + b"--xyz--"])
    )
)
TYPES = st.sampled_from(
    [
        TYPE,
        b'multipart/form-data; boundary="xyz"',
        b"multipart/form-data; boundary=abc; boundary=xyz",
        b"multipart/form-data; boundary=xyz; charset=utf-16",
        b"multipart/form-data; charset=latin-1; boundary=xyz",
        b"MULTIPART/form-data;BOUNDARY=xyz",
    ]
)


@settings(max_examples=examples(400), deadline=None)
@given(BODIES, TYPES)
@example(part("a", "1").encode() + part("a", "2").encode() + b"--xyz--", TYPE)
def test_f44_where_both_read_a_form_they_read_the_same(raw, content_type):
    mine = ours(raw, content_type)
    if mine is not None:
        theirs = asyncio.run(starlettes(raw, content_type))
        # Of files with only a `filename*` newer parsers make fields, older ones files.
        assert theirs is None or b"filename*" in raw or sorted(mine, key=repr) == sorted(theirs, key=repr)


@settings(max_examples=examples(200), deadline=None)
@given(st.lists(st.sampled_from([b"a", b"model", b"=", b"&", b";", b"%6d", b"+", b"%", b"\xff", b"1"])).map(b"".join))
def test_f44_so_with_urlencoded_ones(raw):
    content_type = b"application/x-www-form-urlencoded"
    mine, theirs = ours(raw, content_type), asyncio.run(starlettes(raw, content_type))
    assert mine is None or mine == theirs


@given(st.lists(st.sampled_from(PIECES), max_size=20).map(b"".join), st.integers(1, 9))
@example(b"\r\n --xyz--xyz", 1)
def test_no_bytes_raise_anything_else_however_they_are_cut(raw, step):
    try:
        whole = parse(raw)
    except UnclearFormError:
        with pytest.raises(UnclearFormError):
            parse(raw, step=step)
    else:
        assert parse(raw, step=step) == whole
