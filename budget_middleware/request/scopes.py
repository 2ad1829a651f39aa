"""What the scope of a request says of its method; and two things that are put into it for the app: the handle of its
reservation, and a mark that it is metered.
"""

import re
from itertools import product
from typing import Final
from urllib.parse import unquote

from starlette.types import Scope

from budget_middleware.ledger import BudgetHandle

HANDLE = "budget"
"""The name of the handle in ``scope["state"]``, which Starlette shows as ``request.state``."""

METERED = "budget_middleware"
"""True in the scope of a request that a middleware meters already."""

FREE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})

# Servers behind CGI's interface do not tell underscores from hyphens.
_OVERRIDES: Final = frozenset(
    b"x" + b"".join(map(bytes.__add__, separators, words))
    for words in ((b"http", b"method", b"override"), (b"http", b"method"), (b"method", b"override"))
    for separators in product((b"-", b"_"), repeat=len(words))
)
# As Google's servers have it in a query, for browsers that can only ask for an address.
_IN_ADDRESS: Final = re.compile(r"\$\s*httpMethod\s*=\s*([a-z]+)", re.IGNORECASE | re.ASCII)
# A gateway in between may decode an address once more before it passes it on.
_MOST_DECODINGS: Final = 4


def meant_methods(scope: Scope) -> set[str]:
    """The methods that an app, or a server behind it, may take the request for: headers and the address may name
    another one.
    """
    named = {value.strip().upper().decode("latin-1") for name, value in scope["headers"] if name.lower() in _OVERRIDES}
    # An empty value names none.
    return {scope["method"], *filter(None, named), *_methods_in_address(scope)}


def _methods_in_address(scope: Scope) -> set[str]:
    query, path = scope.get("query_string", b""), scope["path"]
    if b"$" not in query and b"%" not in query and "$" not in path and "%" not in path:
        return set()
    found: set[str] = set()
    text = f"{path}?{query.decode('latin-1')}".replace("+", " ")
    for _ in range(_MOST_DECODINGS):
        found.update(method.upper() for method in _IN_ADDRESS.findall(text))
        if text == (text := unquote(text)):
            break
    return found


def is_free(scope: Scope) -> bool:
    """Whether nobody takes the request for one that could cost anything."""
    return meant_methods(scope) <= FREE_METHODS


def with_handle(scope: Scope, handle: BudgetHandle) -> Scope:
    """The scope for the app, with the handle in a state that belongs to this request alone."""
    state = scope.get("state")
    # The request's own state is kept, for what the app puts there is read by the layers outside. But a state that
    # holds a handle already is another request's as well.
    if not isinstance(state, dict) or HANDLE in state:
        state = dict(state or {})
    state[HANDLE] = handle
    # Without a reservation nobody meters: that is the handle of a middleware that is switched off.
    return {**scope, "state": state, METERED: handle.reservation_id != ""}


def of_session(scope: Scope, handles: object) -> Scope:
    """The scope of a session for the app, with what has the handles of its calls in the place of one handle."""
    # Some servers share one state among all.
    return {**scope, "state": {**(scope.get("state") or {}), HANDLE: handles}, METERED: True}


def is_metered(scope: Scope) -> bool:
    """Whether a middleware outside of this one meters the request."""
    return bool(scope.get(METERED, False))
