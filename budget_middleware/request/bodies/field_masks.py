"""Field masks and formats: Google's servers leave out of any answer what its `fields` does not name, and write it as a
script (`callback`) or in binary (`alt=proto`) for whoever asks.

A client could so hide what the answer has cost, as a whole or only the tokens that a model has thought. What has to be
read is therefore asked for whole and as JSON, and the client gets more than it has named.

A query may also hold another request than the one that was read: its method (`$httpMethod`), its body (`$req`), the
form of that (`$ct`) and its headers (`$httpHeaders`), for browsers that cannot send these. They do not reach the app.
"""

import re
from typing import Final
from urllib.parse import unquote_to_bytes

from starlette.types import Scope

_OTHER_REQUEST: Final = frozenset({b"$httpmethod", b"$req", b"$ct", b"$httpheaders"})
_NAMES: Final = frozenset({b"fields", b"$fields", b"callback", b"$callback"}) | _OTHER_REQUEST
_FORMATS: Final = frozenset({b"alt", b"$alt"})
# `media` is the content of a file.
_READABLE: Final = re.compile(rb"\s*(?:json|sse|media)\s*(?:;.*)?", re.IGNORECASE | re.DOTALL)
# Without the hyphens, which some servers take for underscores and others leave out.
_HEADER: Final = b"xgoogfieldmask"
_OF_PIECES: Final = frozenset({b"accept-encoding", b"range", b"if-range"})
_BY_THE_SERVER: Final = frozenset({"http.response.pathsend", "http.response.zerocopysend"})
_SEPARATORS: Final = re.compile(rb"([&;])")
# A gateway in between may decode a field once more before it passes it on.
_MOST_DECODINGS: Final = 4


def without_field_mask(scope: Scope) -> Scope:
    """The scope of a request for the whole answer, as JSON."""
    headers = [(name, value) for name, value in scope["headers"] if not _is_mask(name)]
    return {**scope, "query_string": _without_fields(scope.get("query_string", b"")), "headers": headers}


def without_other_request(scope: Scope) -> Scope:
    """The scope of a request that is the one which was read."""
    query = scope.get("query_string", b"")
    if b"$" not in query and b"%" not in query:
        return scope
    return {**scope, "query_string": _without_fields(query, names=_OTHER_REQUEST)}


def in_one_piece(scope: Scope) -> Scope:
    """The scope of a request for an answer that is neither a part of it nor compressed, nor a file that the server
    would send by itself.
    """
    extensions = scope.get("extensions")
    if extensions:
        scope = {**scope, "extensions": {name: extensions[name] for name in extensions if name not in _BY_THE_SERVER}}
    return {**scope, "headers": [field for field in scope["headers"] if field[0].lower() not in _OF_PIECES]}


def _is_mask(name: bytes) -> bool:
    return name.lower().replace(b"-", b"").replace(b"_", b"") == _HEADER


def _without_fields(query: bytes, *, names: frozenset[bytes] = _NAMES) -> bytes:
    parts = _SEPARATORS.split(query)
    pairs = zip((b"", *parts[1::2]), parts[::2], strict=True)
    kept = [(end, field) for end, field in pairs if not _is_one_of(field, names)]
    return b"".join([field if at == 0 else end + field for at, (end, field) in enumerate(kept)])


def _is_one_of(field: bytes, names: frozenset[bytes]) -> bool:
    """Whether a field of a query has one of these names, or is several fields to who decodes it, one of which has."""
    formats = _FORMATS if names is _NAMES else ()
    for _ in range(_MOST_DECODINGS):
        for each in _SEPARATORS.split(field):
            key, _, value = each.replace(b"+", b" ").partition(b"=")
            key = key.strip().lower()
            if key in names or (key in formats and not _READABLE.fullmatch(unquote_to_bytes(value))):
                return True
        if field == (field := unquote_to_bytes(field)):
            return False
    return False
