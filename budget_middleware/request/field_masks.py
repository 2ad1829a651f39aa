"""Field masks: Google's servers leave out of any answer what its `fields` does not name.

A client could so leave out what the answer has cost, as a whole or only the tokens that a model has thought. What has
to be read is therefore asked for whole, and the client gets more than it has named.
"""

from typing import Final
from urllib.parse import unquote_to_bytes

from starlette.types import Scope

_NAMES: Final = frozenset({b"fields", b"$fields"})
_HEADER: Final = b"x-goog-fieldmask"


def without_field_mask(scope: Scope) -> Scope:
    """The scope of a request for the whole answer."""
    query = scope.get("query_string", b"")
    kept = b"&".join(field for field in query.split(b"&") if _name(field) not in _NAMES)
    headers = [(name, value) for name, value in scope["headers"] if name.lower() != _HEADER]
    return {**scope, "query_string": kept, "headers": headers}


def _name(field: bytes) -> bytes:
    return unquote_to_bytes(field.partition(b"=")[0]).strip().lower()
