"""A guard behind a guard: both meter one call on one ledger, and only the inner one may book it.

    client ── outer guard ── gateway ── inner guard ── gateway ── provider
               reserves                  reserves, books, and says so:
               books nothing   <───────  x-budget-ledger, x-budget-reservation-id

The answer's headers alone prove nothing: whatever is upstream may send them, or echo what a client sent. So the store
is asked for the inner reservation, and the outer guard believes it only if

- it is known, and holds or has booked something (a call that the inner guard gave back is not paid for);
- it was made after the outer one. An id that a client has from an earlier answer is older, so nobody can use a cheap
  call to have a dear one for nothing;
- it is charged to all the accounts that the outer one is charged to. A gateway that calls the inner one with a key of
  its own leaves the client's account to the outer guard, which books in full.
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Sequence
from functools import cache
from logging import getLogger
from typing import Final

from budget_middleware.core.model import Reservation, Target
from budget_middleware.core.statuses import State
from budget_middleware.headers import Headers, HeaderTable
from budget_middleware.ledger import Ledger

LEDGER_HEADER: Final = b"x-budget-ledger"
# As the guard sends them, and as LiteLLM passes on what its provider has sent.
_PREFIXES: Final = (b"", b"llm_provider-")
_ID_LEDGER_COST: Final = tuple(
    (prefix + b"x-budget-reservation-id", prefix + LEDGER_HEADER, prefix + b"x-budget-cost-usd") for prefix in _PREFIXES
)
GUARDS_HEADERS: Final = frozenset(id_name for id_name, _, _ in _ID_LEDGER_COST)
"""An answer without any of these has passed no other guard."""
_OURS: Final = tuple(prefix + name for prefix in _PREFIXES for name in (b"x-budget-", b"ratelimit"))
_ID: Final = re.compile(rb"[0-9a-f]{32}")
_PAID: Final = frozenset({State.PENDING, State.FINALIZED})

_log = getLogger("budget_middleware")


def ledger_mark(*, generation: str, namespace: str, secret: str) -> bytes:
    """What names a ledger to other guards of the same one, and to nobody else; empty while the store is not known."""
    if not generation:
        return b""
    text = f"ledger\n{namespace}\n{generation}"
    return hmac.digest(secret.encode("utf-8", "surrogatepass"), text.encode(), hashlib.sha256).hex()[:32].encode()


class LedgerMark:
    """The mark of one ledger, by the generation of its store as it is known at each call."""

    __slots__ = ("_generation", "_ledger", "_mark", "_namespace", "_secret")

    def __init__(self, ledger: Ledger, *, namespace: str, secret: str) -> None:
        self._ledger = ledger
        self._namespace = namespace
        self._secret = secret
        self._generation = ""
        self._mark = b""

    def __call__(self) -> bytes:
        generation = self._ledger.generation
        if generation != self._generation:
            self._mark = ledger_mark(generation=generation, namespace=self._namespace, secret=self._secret)
            self._generation = generation
        return self._mark


class InnerAnswer:
    """What an answer's headers say of a guard that it has passed; ``reservation_id``: if it is on our own ledger, whose
    ``mark`` is asked for where there was one.
    """

    __slots__ = ("cost", "is_guarded", "reservation_id")

    def __init__(self, headers: HeaderTable, *, mark: Callable[[], bytes]) -> None:
        self.reservation_id = ""
        self.cost = b""
        self.is_guarded = False
        for id_name, ledger_name, cost_name in _ID_LEDGER_COST:
            id_ = headers.get(id_name, b"")
            if not id_:
                continue
            self.is_guarded = True
            own = mark()
            if own and hmac.compare_digest(headers.get(ledger_name, b""), own) and _ID.fullmatch(id_):
                self.reservation_id = id_.decode()
                self.cost = headers.get(cost_name, b"")


def without_guards_headers(headers: Headers) -> Headers:
    """The headers without those of an inner guard, so that the client gets one set of them."""
    return [pair for pair in headers if not pair[0].lower().startswith(_OURS)]


def books_for(outer: Reservation | None, inner: Reservation | None) -> bool:
    """Whether the inner reservation pays for the call that the outer one was made for."""
    if outer is None or inner is None or outer.id == inner.id:
        return False
    return inner.created_ms >= outer.created_ms and pays_for(outer.targets, inner)


def pays_for(targets: Sequence[Target], inner: Reservation) -> bool:
    """Whether the inner reservation holds or has booked something, and is charged to all of these."""
    if inner.state not in _PAID:
        return False
    ours, theirs = _payers(targets), _payers(inner.targets)
    if ours - theirs and ours & theirs:
        _warn_of_shared_accounts()
    return ours <= theirs


def _payers(targets: Sequence[Target]) -> frozenset[tuple[str, str]]:
    # Not the window: it may have turned between the two.
    return frozenset((target.account, target.window.period) for target in targets)


@cache
def _warn_of_shared_accounts() -> None:
    _log.warning(
        "an answer has passed another guard on this ledger, which charges some of its accounts but not all: accounts"
        " that both charge are booked twice; pass on the client's own key, or remove one guard"
    )
