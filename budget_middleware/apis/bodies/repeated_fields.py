"""Fields that come twice in a JSON object: most parsers take the last of them, others the first, and some ignore case.

    {"model": "cheap", "model": "dear"}    what is estimated here may not be what the server behind us runs

So a text is asked whether it holds more than the fields that were read of it. Without blanks it has as many bytes as
these take, which is soon known; any other is walked along, from field to field.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Final

import msgspec

from budget_middleware.apis.bodies.bad_request import BadRequestError
from budget_middleware.apis.bodies.reading import parse_body

_SHOWN_CHARS: Final = 40
_top_level_of: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_NEXT_NAME: Final = re.compile(rb'[ \t\r\n]*[{,][ \t\r\n]*"([^"\\]*)"[ \t\r\n]*:[ \t\r\n]*')
_END: Final = re.compile(rb"[ \t\r\n]*}[ \t\r\n]*\Z")
_MODEL: Final = re.compile(rb'"model"\s*:')
# A long s is an `s` to those who ignore case.
_LONG_S: Final = "\u017f".encode()
# An ASCII letter, which need not be escaped, or that one.
_ESCAPED_LETTER: Final = re.compile(rb"\\u0(?:0[4-7]|17[fF])")
_TEXT_AT: Final = rb'"%b"\s*+:\s*+("[^"]{0,2000}+")'
_USUAL_FIELD: Final = b'"%b": %b'
_MOST_WALKED: Final = 1_000
_MOST_KEPT: Final = 100_000
# To write a longer text once more takes longer than to walk along it.
_MOST_WRITTEN: Final = 65_536
# Objects in a body that name a model or a maximum, and those in the settings of a session that decide what it costs.
_WITHIN: Final = frozenset(
    {"session", "generationConfig", "generation_config", "inferenceConfig", "options", "extra_body"}
)
_DEEPER: Final = frozenset(
    {"session", "response", "audio", "input", "output", "format", "transcription", "turn_detection"}
    | {"input_audio_transcription"}
)
# As deep as they are within each other; each level is one more pass over what it holds.
_DEEPEST: Final = 5


def refuse_repeated(text: bytes, document: object) -> None:
    """BadRequestError where a field of the document, which this text was parsed to in full, comes twice."""
    if type(document) is not dict:
        return
    name = repeated_field(text)
    if not name and not _WITHIN.isdisjoint(document):
        name = repeated_within(text, *(_WITHIN & document.keys()))
    if name:
        raise BadRequestError(f"the body has the field {name[:_SHOWN_CHARS]!r} twice")


def repeated_field(text: bytes) -> str:
    """A field that comes twice in the object that this text is, in capitals or not; empty if none does."""
    try:
        values = _top_level_of(text)
    except (ValueError, RecursionError):
        # Only a lenient parser reads it.
        return _repeated_in_pairs(text)
    names = "".join(values)
    # Two quotes, a colon, and a comma or a brace: it takes as much to write a field at all.
    n_least = len(names) + sum(map(len, values.values())) + 4 * len(values) + 1
    is_usual = len(text) == n_least + 2 * len(values) - 1 <= _MOST_WRITTEN and text == _usual_text_of(values)
    is_whole = is_usual or len(text) == n_least or not values or _is_all_of(text, values)
    if is_whole and names.islower() and names.isascii():
        return ""
    return _repeated_in(values) if is_whole else _repeated_in_pairs(text)


def repeated_within(text: bytes, *fields: str) -> str:
    """The same of the objects that some of its fields hold, and of the settings of a session in these."""
    return _repeated_below(text, fields, depth=_DEEPEST - 1)


def repeated_in_settings(text: bytes) -> str:
    """The same of an event of a session, of the settings that it has, and of those in these."""
    return repeated_field(text) or _repeated_below(text, _DEEPER, depth=_DEEPEST)


def _repeated_below(text: bytes, fields: Iterable[str], *, depth: int) -> str:
    try:
        values = _top_level_of(text)
    except (ValueError, RecursionError):
        return _repeated_in_tree(_pairs_in(text), fields, depth=depth)
    for field in fields:
        if field in values and (inner := bytes(values[field])).startswith(b"{"):
            name = repeated_field(inner) or (_repeated_below(inner, _DEEPER, depth=depth - 1) if depth else "")
            if name:
                return name
    return ""


def _repeated_in_tree(pairs: Iterable[tuple[str, object]], fields: Iterable[str], *, depth: int) -> str:
    """As `_repeated_below`, of what only a lenient parser reads: it is parsed once for all levels."""
    known = {name: value for name, value in pairs if isinstance(value, tuple)}
    for inner in (known[field] for field in fields if field in known):
        name = _repeated_in(name for name, _ in inner)
        if name := name or (_repeated_in_tree(inner, _DEEPER, depth=depth - 1) if depth else ""):
            return name
    return ""


def texts_within(text: bytes, field: str, *inner: str) -> tuple[str, ...]:
    """All texts that somebody may read at fields of the object that a field of this one holds; each may come twice."""
    objects = [value for name, value in _pairs_in(text) if name.casefold() == field and isinstance(value, tuple)]
    return tuple(
        value for fields in objects for name, value in fields if name.casefold() in inner and isinstance(value, str)
    )


def texts_below(text: bytes, field: str, *inner: str) -> Mapping[str, Sequence[str]] | None:
    """All texts at each of these fields wherever they are, each once, of a text that cannot be parsed; none if that may
    not have the ``field`` which they are to be in. None where a name may be escaped, or there are very many.
    """
    # Each look at 15 MB takes some ms of the event loop.
    if _ESCAPED_LETTER.search(text) or (not text.isascii() and _LONG_S in text):
        return None
    lower = text.lower()
    texts: dict[str, Sequence[str]] = dict.fromkeys(inner, ())
    if b'"%b"' % field.encode() not in lower:
        return texts
    for name in inner:
        places = [found.span(1) for found in islice(re.finditer(_TEXT_AT % name.encode(), lower), _MOST_WALKED)]
        if len(places) == _MOST_WALKED:
            return None
        written = dict.fromkeys(text[begins:ends] for begins, ends in places)
        texts[name] = [value for value in map(parse_body, written) if isinstance(value, str)]
    return texts


def may_repeat_model(text: bytes) -> bool:
    """Whether a text, which is an object, may name a model twice; for one with too many values to be parsed."""
    lower = text.lower()
    is_named_twice = lower.count(b'"model"') > 1 and len(_MODEL.findall(lower)) > 1
    if not is_named_twice and not _ESCAPED_LETTER.search(text):
        return False
    # It may be in objects of it, or in texts. That is looked for if it has no more fields than can be kept at once.
    if text.count(b":") > _MOST_KEPT:
        return True
    values = _top_level_of(text)
    return not _is_all_of(text, values) or _repeated_in(values) != ""


def _usual_text_of(values: Mapping[str, msgspec.Raw]) -> bytes:
    """An object with these fields as most clients write it: with a blank behind each colon and each comma."""
    return b"{%b}" % b", ".join(map(_USUAL_FIELD.__mod__, zip(map(str.encode, values), values.values(), strict=True)))


def _is_all_of(text: bytes, values: Mapping[str, msgspec.Raw]) -> bool:
    """Whether these fields are all that an object's text has, one behind the other; a name must not be escaped.

    Of very many it is not told: to walk along them takes longer than to parse the text once more.
    """
    if len(values) > _MOST_WALKED:
        return False
    at = 0
    for name, value in values.items():
        begins = _NEXT_NAME.match(text, at)
        if begins is None or begins[1] != name.encode() or not text.startswith(bytes(value), begins.end()):
            return False
        at = begins.end() + len(value)
    return _END.match(text, at) is not None


def _repeated_in(names: Iterable[str]) -> str:
    """A name that is another one's, in the same letters or not."""
    folded = list(map(str.casefold, names))
    if len({*folded}) == len(folded):
        return ""
    # In one pass: a client may send tens of thousands.
    return next((name for name, count in Counter(folded).items() if count > 1), "")


def _repeated_in_pairs(text: bytes) -> str:
    return _repeated_in(name for name, _ in _pairs_in(text))


def _pairs_in(text: bytes) -> tuple[tuple[str, object], ...]:
    """The fields of the object that a text is, as they stand there; an object in it is such a tuple too."""
    try:
        pairs = json.loads(text, object_pairs_hook=tuple)
    except (ValueError, RecursionError):
        return ()
    return pairs if isinstance(pairs, tuple) else ()
