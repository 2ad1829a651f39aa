"""What the scope of a request says of its method; and two things that are put into it for the app: the handle of its
reservation, and a mark that it is metered.
"""

from typing import Final

from starlette.types import Scope

from budget_middleware.ledger import BudgetHandle

HANDLE = "budget"
"""The name of the handle in ``scope["state"]``, which Starlette shows as ``request.state``."""

METERED = "budget_middleware"
"""True in the scope of a request that a middleware meters already."""

FREE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})

_OVERRIDES: Final = frozenset({b"x-http-method-override", b"x-http-method", b"x-method-override"})


def meant_methods(scope: Scope) -> set[str]:
    """The methods that an app, or a server behind it, may take the request for: headers may name another one."""
    named = {value.strip().upper().decode("latin-1") for name, value in scope["headers"] if name.lower() in _OVERRIDES}
    # An empty value names none.
    return {scope["method"], *filter(None, named)}


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
