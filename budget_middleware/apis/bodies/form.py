"""Reading the fields of a form as it arrives, and how long its files are, without keeping the files.

The app reads the same form with a parser of its own, and parsers differ where a form is unclear. So a form has one
reading here or none: whatever another parser could take otherwise (a field that comes twice, a second boundary, a
character set, an end that is missing) is an UnclearFormError.

    content type ──> boundary_of ──> FormReader.feed(piece) … ──> finish() ──> Form
"""

import codecs
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_plus

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, QuerystringParser, parse_options_header

from budget_middleware.apis.bodies.bad_request import BadRequestError

# So much is read of one form, whatever it holds; more of it is refused. Starlette reads as many parts.
MAX_PARTS: Final = 1_000
MAX_FIELD_BYTES: Final = 1_000_000
MAX_FIELDS_BYTES: Final = 4_000_000
# Enough for the headers of images and audio files, which state their size and length.
HEAD_BYTES: Final = 65_536
_MAX_HEADS_BYTES: Final = 2_000_000

_FORM: Final = b"multipart/form-data"
_URLENCODED: Final = b"application/x-www-form-urlencoded"
_BOUNDARY_PARAMETER: Final = re.compile(rb"(?i)(?<![\w-])boundary\s*(?:\*[^=]*)?=")
_BOUNDARY: Final = re.compile(rb"[0-9A-Za-z'()+_,./:=?-]{1,70}")
_NAME_PARAMETER: Final = re.compile(rb"(?i);\s*name\s*(\*[^=]*)?=")
_FILENAME_PARAMETER: Final = re.compile(rb"(?i);\s*filename\s*(?:\*[^=]*)?=")
_PLAIN_CHARSETS: Final = ("utf-8", "ascii")
_PLAIN_ENCODINGS: Final = (b"", b"7bit", b"8bit", b"binary")
_LIST_MARK: Final = "[]"
_MAX_NAME_BYTES: Final = 1_000


class UnclearFormError(BadRequestError):
    """A form that two parsers may read in two ways."""


@dataclass(frozen=True, slots=True)
class File:
    """A file of a form: its length in bytes, and how it begins."""

    n_bytes: int
    head: bytes


class Form(dict[str, object]):
    """The fields of a form: the text of each, or the list of them where the name says so (`image[]`), and for those
    that hold files the list of them.
    """


def files_in(body: Mapping[str, object]) -> list[File]:
    """The files of a form, whatever their fields; none in anything else."""
    if not isinstance(body, Form):
        return []
    return [file for files in body.values() if isinstance(files, list) for file in files if isinstance(file, File)]


def boundary_of(content_types: Sequence[bytes]) -> bytes | None:
    """The boundary of a multipart form by the request's `content-type` headers; None where they name no such form."""
    if not any(value.strip().lower().startswith(_FORM) for value in content_types):
        return None
    if len(content_types) > 1:
        raise UnclearFormError("the form is unclear: the request has two content-type headers")
    (value,) = content_types
    kind, options = parse_options_header(value)
    if kind != _FORM:
        return None
    boundary = options.get(b"boundary", b"")
    if len(_found(_BOUNDARY_PARAMETER, value)) != 1 or _BOUNDARY.fullmatch(boundary) is None:
        raise UnclearFormError("the form is unclear: its content-type does not name one plain boundary")
    if not _is_plain_charset(options.get(b"charset", b"utf-8")):
        raise UnclearFormError("the form is unclear: only UTF-8 is read as its charset")
    return boundary


def is_urlencoded(content_type: bytes) -> bool:
    """Whether a content type names the fields of a form in the shape of a query."""
    return content_type.partition(b";")[0].strip().lower() == _URLENCODED


def parse_urlencoded(raw: bytes) -> Form:
    """The fields of a form in the shape of a query. UnclearFormError as for other forms."""
    if b";" in raw:  # Some parsers take it for `&`.
        raise UnclearFormError("the form is unclear: it has a ';' that is not encoded")
    if raw.count(b"&") >= MAX_PARTS:
        raise UnclearFormError(f"the form has more than {MAX_PARTS} fields")
    form, name, value = Form(), bytearray(), bytearray()

    def end_field() -> None:
        _add_field(form, unquote_plus(name.decode("latin-1")), unquote_plus(value.decode("latin-1")))
        name.clear()
        value.clear()

    parser = QuerystringParser(
        {
            "on_field_name": lambda data, start, end: name.extend(data[start:end]),
            "on_field_data": lambda data, start, end: value.extend(data[start:end]),
            "on_field_end": end_field,
        }
    )
    try:
        parser.write(raw)
        parser.finalize()
    except FormParserError:
        raise UnclearFormError("the form cannot be read") from None
    return form


def names_in_urlencoded(raw: bytes) -> set[str]:
    """The names of the fields that a parser of forms would find in any bytes."""
    pieces = raw.replace(b";", b"&").split(b"&", MAX_PARTS)
    if len(pieces) > MAX_PARTS:
        raise UnclearFormError("the body is JSON, but its content-type says form; send application/json")
    return {unquote_plus(piece.partition(b"=")[0][:_MAX_NAME_BYTES].decode("latin-1")) for piece in pieces}


_NOT_SEPARATED: Final = "the form is unclear: its parts are not separated by its boundary"


class FormReader:
    """Reads one multipart form, piece by piece. UnclearFormError says in one line what is unclear."""

    def __init__(self, boundary: bytes) -> None:
        self._form = Form()
        self._has_ended = False
        self._n_parts = 0
        self._fields_bytes = 0
        self._heads_bytes = 0
        self._header_name = bytearray()
        self._header_value = bytearray()
        self._part = _Part()
        self._delimiter = b"--" + boundary
        # How the form begins, until it is known to begin with its boundary.
        self._start: bytearray | None = bytearray()
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin_part,
                "on_header_field": lambda data, start, end: self._header_name.extend(data[start:end]),
                "on_header_value": lambda data, start, end: self._header_value.extend(data[start:end]),
                "on_header_end": self._end_header,
                "on_headers_finished": self._end_headers,
                "on_part_data": self._take_data,
                "on_part_end": self._end_part,
                "on_end": self._end,
            },
        )

    def feed(self, piece: bytes) -> None:
        """Read the next piece of the body."""
        if self._start is not None:
            piece = self._begun(self._start, piece)
        try:
            self._parser.write(piece)
        except FormParserError:
            raise UnclearFormError(_NOT_SEPARATED) from None

    def _begun(self, start: bytearray, piece: bytes) -> bytes:
        """The form from its first boundary on, b"" as long as that may yet come.

        Whether the parser skips what stands before it depends on how the body is cut, and so may an app's.
        """
        start += piece
        begun = bytes(start.lstrip(b"\r\n"))
        if not begun.startswith(self._delimiter[: len(begun)]):
            raise UnclearFormError(_NOT_SEPARATED)
        if len(begun) < len(self._delimiter):
            return b""
        self._start = None
        return begun

    def finish(self) -> Form:
        """The form, when all of it has been read."""
        if not self._has_ended:
            raise UnclearFormError("the form is unclear: it ends without its last boundary")
        return self._form

    def _begin_part(self) -> None:
        self._n_parts += 1
        if self._n_parts > MAX_PARTS:
            raise UnclearFormError(f"the form has more than {MAX_PARTS} parts")
        self._part = _Part()

    def _end_header(self) -> None:
        name, value = bytes(self._header_name).lower(), bytes(self._header_value)
        self._header_name.clear()
        self._header_value.clear()
        if name in self._part.headers:
            raise UnclearFormError(f"the form is unclear: a part has two headers {_shown(name)}")
        self._part.headers[name] = value

    def _end_headers(self) -> None:
        self._part.read_headers()

    def _take_data(self, data: bytes, start: int, end: int) -> None:
        part = self._part
        part.n_bytes += end - start
        if not part.is_file:
            self._fields_bytes += end - start
            if part.n_bytes > MAX_FIELD_BYTES or self._fields_bytes > MAX_FIELDS_BYTES:
                raise UnclearFormError(f"the field {_shown(part.name)} of the form is too long")
            part.data += data[start:end]
        elif len(part.data) < HEAD_BYTES and self._heads_bytes < _MAX_HEADS_BYTES:
            head = data[start : min(end, start + HEAD_BYTES - len(part.data))]
            self._heads_bytes += len(head)
            part.data += head

    def _end_part(self) -> None:
        part = self._part
        if part.is_file:
            files = self._form.setdefault(part.name, [])
            if not isinstance(files, list) or (files and not isinstance(files[0], File)):
                raise _repeated(part.name)
            files.append(File(part.n_bytes, bytes(part.data)))
        else:
            _add_field(self._form, part.name, _decoded(part.data))

    def _end(self) -> None:
        self._has_ended = True


class _Part:
    """A part of a form that is being read; of a file only how it begins is kept."""

    __slots__ = ("data", "headers", "is_file", "n_bytes", "name")

    def __init__(self) -> None:
        self.headers: dict[bytes, bytes] = {}
        self.name = ""
        self.is_file = False
        self.n_bytes = 0
        self.data = bytearray()

    def read_headers(self) -> None:
        disposition = self.headers.get(b"content-disposition", b"")
        names = _found(_NAME_PARAMETER, b";" + disposition.partition(b";")[2])
        _, options = parse_options_header(disposition)
        if names != [b""] or b"name" not in options:
            raise UnclearFormError("the form is unclear: a part does not have one plain name")
        self.name = _decoded(options[b"name"])
        self.is_file = bool(_found(_FILENAME_PARAMETER, disposition))
        if self.headers.get(b"content-transfer-encoding", b"").strip().lower() not in _PLAIN_ENCODINGS:
            raise UnclearFormError(f"the form is unclear: {_shown(self.name)} has a content-transfer-encoding")
        _, options = parse_options_header(self.headers.get(b"content-type", b""))
        if not self.is_file and not _is_plain_charset(options.get(b"charset", b"utf-8")):
            raise UnclearFormError(f"the form is unclear: only UTF-8 is read as the charset of {_shown(self.name)}")


def _found(parameter: re.Pattern[bytes], header: bytes) -> list[bytes]:
    """Where a header has a parameter. Behind its last `=` there is none: a search there takes quadratic time."""
    return parameter.findall(header, 0, header.rfind(b"=") + 1)


def _add_field(form: Form, name: str, text: str) -> None:
    if name not in form:
        form[name] = [text] if name.endswith(_LIST_MARK) else text
        return
    texts = form[name]
    if not isinstance(texts, list) or not isinstance(texts[0], str):
        raise _repeated(name)
    texts.append(text)
    if len(texts) > MAX_PARTS:
        raise UnclearFormError(f"the form has more than {MAX_PARTS} parts")


def _repeated(name: str) -> UnclearFormError:
    return UnclearFormError(f"the form is unclear: it has two fields {_shown(name)}")


def _decoded(raw: bytes | bytearray) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _is_plain_charset(name: bytes) -> bool:
    try:
        return codecs.lookup(name.decode("latin-1")).name in _PLAIN_CHARSETS
    except (LookupError, ValueError):
        return False


def _shown(name: str | bytes) -> str:
    return ascii(name if isinstance(name, str) else name.decode("latin-1"))[:60]
