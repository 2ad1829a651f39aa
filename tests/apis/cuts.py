"""Streams for tests, and the pieces in which they may arrive."""

import binascii
import json

from hypothesis import strategies as st

CUTS = st.lists(st.integers(0, 3000), max_size=8)


def cut(stream, places):
    """The stream in pieces, cut at some places; some of them may be empty."""
    places = sorted(place % (len(stream) + 1) for place in places)
    return [stream[a:b] for a, b in zip([0, *places], [*places, len(stream)], strict=True)]


def passed(reader, chunks):
    """What the client gets of an answer that comes in these chunks."""
    *others, last = chunks
    return b"".join([*(taken(reader, chunk) for chunk in others), reader.feed(last, last=True)])


def taken(reader, chunk):
    """What the client gets of a chunk that is not the last."""
    passed = reader.pass_ordinary(chunk)
    return reader.feed(chunk, last=False) if passed is None else passed


def frame(payload):
    """A frame of an AWS event stream, with one header as Bedrock's have."""
    headers = b"\x0b:event-type\x07\x00\x05chunk"
    prelude = (16 + len(headers) + len(payload)).to_bytes(4) + len(headers).to_bytes(4)
    begun = prelude + binascii.crc32(prelude).to_bytes(4) + headers + payload
    return begun + binascii.crc32(begun).to_bytes(4)


def as_events(*documents):
    """Server-sent events, each named by its type if it has one, as Anthropic and OpenAI's responses do."""
    lines = []
    for document in documents:
        data = document if isinstance(document, str) else json.dumps(document)
        kind = document.get("type") if isinstance(document, dict) else None
        lines.append((f"event: {kind}\n" if kind else "") + f"data: {data}\n\n")
    return "".join(lines).encode()


def as_lines(*documents):
    return b"".join(json.dumps(document).encode() + b"\n" for document in documents)


def as_array(*documents):
    """An array as Gemini streams it: pretty-printed, a comma at the head of a line."""
    return ("[" + "\n,\r\n".join(json.dumps(document, indent=2) for document in documents) + "\n]\n").encode()


def as_frames(*documents):
    return b"".join(frame(json.dumps(document).encode()) for document in documents)
