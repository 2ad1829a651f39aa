"""Which parts of a request are media, in any of the APIs' shapes, and what is in them."""

import binascii
from collections.abc import Mapping
from enum import Enum, auto
from typing import Final, NamedTuple

from budget_middleware.apis.bodies.form import HEAD_BYTES
from budget_middleware.apis.bodies.reading import mapping_of
from budget_middleware.apis.counting.media import image_size

# Ids and addresses of files are shorter, files are longer.
_LONGEST_NAME: Final = 2_048
_HEAD_CHARS: Final = HEAD_BYTES // 3 * 4
_HEADS_CHARS: Final = (64, 4_096, _HEAD_CHARS)


class MediaKind(Enum):
    """What media there are."""

    IMAGE = auto()
    AUDIO = auto()
    DOCUMENT = auto()
    VIDEO = auto()


class Part(NamedTuple):
    """Media in an object: in which fields, what they hold, and whether low detail is asked for."""

    kind: MediaKind
    fields: tuple[str, ...]
    payload: object
    is_low: bool = False


class Content(NamedTuple):
    """What a part holds: a file in base64, or the address of one, in ``body_bytes`` of the request's body.

    ``file_bytes`` is the length of the file and ``head`` its beginning, if it is there itself (``is_inline``).
    ``other_bytes`` are those of all other texts in the part. ``is_media`` is False for a long text that is neither a
    file nor an address. ``n_values``: so many values were looked at.
    """

    body_bytes: int
    file_bytes: int
    head: bytes
    is_inline: bool
    other_bytes: int
    is_media: bool
    n_values: int


# The `type` of a part, and the fields that then hold media rather than text.
_BY_TYPE: Final = {
    "image_url": (MediaKind.IMAGE, ("image_url",)),
    "input_image": (MediaKind.IMAGE, ("image_url", "file_id")),
    "computer_screenshot": (MediaKind.IMAGE, ("image_url", "file_id")),
    "image_generation_call": (MediaKind.IMAGE, ("result",)),
    "image": (MediaKind.IMAGE, ("source", "data", "uri")),
    "audio": (MediaKind.AUDIO, ("data", "uri")),
    "video": (MediaKind.VIDEO, ("data", "uri")),
    "input_audio": (MediaKind.AUDIO, ("input_audio",)),
    "audio_url": (MediaKind.AUDIO, ("audio_url",)),
    "file": (MediaKind.DOCUMENT, ("file",)),
    "input_file": (MediaKind.DOCUMENT, ("file_data", "file_id", "file_url")),
    "document": (MediaKind.DOCUMENT, ("source", "data", "uri")),
    "video_url": (MediaKind.VIDEO, ("video_url",)),
}
# Gemini names media by a field and the type inside, Bedrock by a field alone.
_BY_MIME_TYPE: Final = {"image": MediaKind.IMAGE, "audio": MediaKind.AUDIO, "video": MediaKind.VIDEO}
_MIME_FIELDS: Final = ("inlineData", "inline_data", "fileData", "file_data")
_BEDROCK_FIELDS: Final = {"image": MediaKind.IMAGE, "document": MediaKind.DOCUMENT, "video": MediaKind.VIDEO}
_UNTYPED_FIELDS: Final = frozenset({*_MIME_FIELDS, *_BEDROCK_FIELDS})
MEDIA_MARKS: Final = _UNTYPED_FIELDS | {"type"}
"""An object without any of these fields is no part with media."""


def part_of(item: Mapping[str, object]) -> Part | None:
    """The media that an object holds, if it is a part of that shape."""
    kind = item.get("type")
    if isinstance(kind, str) and kind in _BY_TYPE:
        return _typed_part(item, *_BY_TYPE[kind])
    if _UNTYPED_FIELDS.isdisjoint(item):
        return None
    for name in _MIME_FIELDS:
        source = mapping_of(item.get(name))
        mime_type = source.get("mimeType") or source.get("mime_type")
        if isinstance(mime_type, str):
            return Part(kind_of_mime_type(mime_type), (name,), source)
    for name, media in _BEDROCK_FIELDS.items():
        source = mapping_of(mapping_of(item.get(name)).get("source"))
        if source and not _is_text(source):
            return Part(media, (name,), source)
    return None


def _typed_part(item: Mapping[str, object], kind: MediaKind, fields: tuple[str, ...]) -> Part | None:
    held = tuple(name for name in fields if item.get(name) and not _is_text(item[name]))
    if not held:
        return None
    detail = item.get("detail") or mapping_of(item[held[0]]).get("detail")
    return Part(kind, held, [item[name] for name in held], detail == "low")


def _is_text(source: object) -> bool:
    """Whether the source of a document is the document's text, or parts of their own."""
    return isinstance(source, dict) and (
        source.get("type") in ("text", "content") or "text" in source or "content" in source
    )


def kind_of_mime_type(mime_type: str) -> MediaKind:
    """What a MIME type stands for: whatever is no image, audio or video is a document."""
    return _BY_MIME_TYPE.get(mime_type.partition("/")[0], MediaKind.DOCUMENT)


def is_data_url(text: str) -> bool:
    """Whether a text is a file in base64, as a URL."""
    return text.startswith("data:") and ";base64," in text[:_LONGEST_NAME]


def looks_encoded(text: str) -> bool:
    """Whether a text may be base64, or an address: neither has a space, nor anything but ASCII."""
    return text.isascii() and " " not in text


def content_of(payload: object) -> Content:
    """What a part holds: of all the texts in it, the longest is the file or its address."""
    text, other_bytes, n_values = _longest_text(payload)
    start = text.index(",") + 1 if is_data_url(text) else 0
    is_long = len(text) > _LONGEST_NAME
    is_inline = start > 0 or (is_long and "://" not in text[:16])
    head = _head(text[start : start + _HEAD_CHARS])
    is_media = not is_long or looks_encoded(text)
    return Content(len(text), (len(text) - start) * 3 // 4, head, is_inline, other_bytes, is_media, n_values)


def _longest_text(value: object) -> tuple[str, int, int]:
    """The longest text in a JSON value, the length of all others together, without keys, and how many values it has."""
    longest, n_chars, n_values = "", 0, 0
    stack = [value]
    while stack:
        item = stack.pop()
        n_values += 1
        if isinstance(item, str):
            n_chars += len(item)
            longest = max(longest, item, key=len)
        elif isinstance(item, list | dict):
            stack.extend(item if isinstance(item, list) else item.values())
    return longest, n_chars - len(longest), n_values


def _head(base64: str) -> bytes:
    """How a file begins: of JPEG, whose size comes later than that of others, as much as it takes."""
    head = b""
    try:
        for n_chars in _HEADS_CHARS:
            head = binascii.a2b_base64(base64[:n_chars])
            if not head.startswith(b"\xff\xd8") or image_size(head) is not None:
                return head
    except ValueError:
        return b""
    return head
