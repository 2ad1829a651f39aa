"""Reading a multipart/form-data body where it lies (RFC 7578): its short fields, and how long its files are."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

# So much is read of one body, whatever it holds.
MAX_PARTS: Final = 256
MAX_PART_HEADER_BYTES: Final = 8_192
MAX_FIELD_BYTES: Final = 1_000_000
# Enough for the headers of images and audio files, which tell their size and length.
HEAD_BYTES: Final = 65_536

_BOUNDARY: Final = re.compile(rb'(?i)^multipart/form-data\s*;.*?\bboundary=(?:"([^"]{1,200})"|([^\s;"]{1,200}))')
_NAME: Final = re.compile(rb'(?i);\s*name=(?:"([^"]{0,200})"|([^\s;"]{1,200}))')
_FILENAME: Final = re.compile(rb"(?i);\s*filename\*?=")


@dataclass(frozen=True, slots=True)
class File:
    """A file of a form: its length in bytes, and how it begins."""

    n_bytes: int
    head: bytes


class Form(dict[str, object]):
    """The fields of a form: the text of each, and for those that hold files the list of them."""


def files_in(body: Mapping[str, object]) -> list[File]:
    """The files of a form, whatever their fields; none in anything else."""
    if not isinstance(body, Form):
        return []
    return [file for files in body.values() if isinstance(files, list) for file in files if isinstance(file, File)]


def parse_form(raw: bytes, content_type: bytes, *, n_bytes: int) -> Form | None:
    """Read the fields of a body of `n_bytes` that begins with `raw`; None where it is no form.

    What follows `raw` is taken for the rest of the last file: a client sends its fields first.
    """
    match = _BOUNDARY.match(content_type.strip())
    if match is None:
        return None
    delimiter = b"--" + (match[1] or match[2])
    start = raw.find(delimiter)
    form = Form()
    for _ in range(MAX_PARTS):
        if start < 0 or raw.startswith(b"--", start + len(delimiter)):
            break
        end = raw.find(b"\r\n" + delimiter, start + len(delimiter))
        _read_part(form, raw, start + len(delimiter), end if end >= 0 else None, n_bytes)
        start = end + 2 if end >= 0 else -1
    return form


def _read_part(form: Form, raw: bytes, start: int, end: int | None, n_bytes: int) -> None:
    header_end = raw.find(b"\r\n\r\n", start, start + MAX_PART_HEADER_BYTES)
    if header_end < 0 or (end is not None and header_end > end):
        return
    header, body_start = raw[start:header_end], header_end + 4
    match = _NAME.search(header)
    if match is None:
        return
    name = (match[1] or match[2] or b"").decode("utf-8", "replace")
    length = max(0, (max(n_bytes, len(raw)) if end is None else end) - body_start)
    if _FILENAME.search(header):
        head = raw[body_start : body_start + min(length, HEAD_BYTES)]
        files = form.get(name)
        form[name] = [*(files if isinstance(files, list) else []), File(length, head)]
    elif length <= MAX_FIELD_BYTES:
        # As web frameworks do: of fields with one name the last counts.
        form[name] = raw[body_start : body_start + length].decode("utf-8", "replace")
