"""A guard behind a guard, on a WebSocket: whose reservation of a call is booked.

    client ── outer guard ── gateway ── inner guard ── gateway ── provider
               handshake   ───────>  x-budget-outer-session: a random number
               books nothing   <───  {"x_budget_reservation": "ID.N.PROOF", "type": "response.created", ...}

What HTTP says by an answer's headers (`request.nesting`), a session has to say by events: the one that begins a call
names the reservation that the inner guard has made for it. The field comes first in its event, only where the
handshake asks for it, and the outer guard takes it out again. The proof is an HMAC over the outer session's number,
the reservation and N, which counts up; it is made with the secret of the hash and the generation of the store, so only
guards on the same ledger can make one. A client that has seen a proof, for it may send the header itself, has one for a
number of its own; and one that is sent twice counts once.

Two sidebands of one call (`request.jobs.direct_calls`) are side by side and see the same responses: the first that sees
the end of one says so in a fact, and the other books nothing.

The store is asked as for HTTP: the inner reservation must hold or have booked something, and be charged to all the
accounts that the outer one is charged to. What cannot be proven is booked by both.
"""

import hashlib
import hmac
import re
import secrets
from contextlib import suppress
from typing import Final

from starlette.types import Message, Scope

from budget_middleware.apis.jobs.realtime_direct import watched_at
from budget_middleware.headers import HeaderTable
from budget_middleware.ledger import Ledger
from budget_middleware.ledger.jobs.tickets import fact_name
from budget_middleware.request.nesting import pays_for
from budget_middleware.sessions.call import SessionCall
from budget_middleware.settings import Settings
from budget_middleware.stores.errors import NO_ANSWER

OUTER_SESSION: Final = b"x-budget-outer-session"
_NUMBER: Final = re.compile(rb"[0-9a-f]{32}")
_FIELD: Final = "x_budget_reservation"
# Gateways that parse events and write them anew put spaces elsewhere.
_NAMED: Final = re.compile(rf'\s*{{\s*"{_FIELD}"\s*:\s*"([0-9a-f]{{32}})\.([0-9]{{1,15}})\.([0-9a-f]{{32}})"\s*,')
_NAMED_BYTES: Final = re.compile(_NAMED.pattern.encode())
# Longer than calls last.
_CLAIMED_MS: Final = 2 * 86_400_000


class EventNames:
    """Of one event of the server: what it said of the inner guard's reservation, and which call of ours it begins."""

    __slots__ = ("begun", "inner_id")

    def __init__(self, inner_id: str = "") -> None:
        self.inner_id = inner_id
        self.begun: SessionCall | None = None


class SessionNesting:
    """What one session knows of the guards outside and behind it."""

    __slots__ = ("_call", "_key", "_ledger", "_n_named", "_n_read", "_namespace", "_number", "_outer_number")

    def __init__(self, ledger: Ledger, settings: Settings, scope: Scope) -> None:
        self._ledger = ledger
        self._key = settings.hash_secret.get_secret_value().encode("utf-8", "surrogatepass")
        self._namespace = settings.namespace
        self._number = secrets.token_hex(16).encode()
        outer = HeaderTable(scope["headers"]).get(OUTER_SESSION, b"")
        self._outer_number = outer if settings.headers and _NUMBER.fullmatch(outer) else b""
        self._n_read = self._n_named = 0
        # The call that this session is a sideband of, if it is one.
        self._call = watched_at(scope)

    def asks_inner(self, scope: Scope) -> Scope:
        """The handshake for the app: a guard behind it is to name its reservations."""
        headers = [pair for pair in scope["headers"] if pair[0].lower() != OUTER_SESSION]
        return {**scope, "headers": [*headers, (OUTER_SESSION, self._number)]}

    def read(self, message: Message) -> tuple[Message, EventNames]:
        """An event without the name of a reservation, and that name if its proof is right."""
        text, data = message.get("text"), message.get("bytes")
        if text is not None:
            found = _NAMED.match(text)
            if found is None:
                return message, EventNames()
            words, message = found.groups(), {**message, "text": "{" + text[found.end() :]}
        else:
            found_bytes = _NAMED_BYTES.match(data or b"")
            if found_bytes is None or data is None:
                return message, EventNames()
            words = tuple(word.decode() for word in found_bytes.groups())
            message = {**message, "bytes": b"{" + data[found_bytes.end() :]}
        id_, count, proof = words
        is_proven = hmac.compare_digest(self._proof(self._number, id_, int(count)), proof)
        if not (is_proven and self._ledger.generation and int(count) > self._n_read):
            return message, EventNames()
        self._n_read = int(count)
        return message, EventNames(id_)

    async def begin(self, call: SessionCall, names: EventNames) -> None:
        """A call begins with an event: ask the store whether a guard behind us books it."""
        names.begun = call
        if names.inner_id:
            inner = await self._ledger.look_up(names.inner_id)
            if inner is not None and inner.id != call.hold.id and pays_for(call.hold.targets, inner):
                call.settlement.inner_id = inner.id

    async def end(self, call: SessionCall) -> None:
        """A call ends with an event: ask the store whether another sideband has seen that, and books it."""
        if self._call is None or not call.server_id or call.settlement.charge is not None:
            return
        name = fact_name("response", *self._call, call.server_id)
        with suppress(*NO_ANSWER):
            if await self._ledger.tickets.keep_fact(name, call.hold.id, keep_ms=_CLAIMED_MS):
                return
            first = await self._ledger.look_up((await self._ledger.tickets.look_up_facts([name])).get(name, ""))
            if first is not None and first.id != call.hold.id and pays_for(call.hold.targets, first):
                call.settlement.inner_id = first.id

    def write(self, message: Message, names: EventNames) -> Message:
        """The event that begins a call of ours, with the name of its reservation if a guard outside asks for it."""
        if names.begun is None or not self._outer_number or not self._ledger.generation:
            return message
        self._n_named += 1
        id_ = names.begun.hold.id
        name = f'{{"{_FIELD}":"{id_}.{self._n_named}.{self._proof(self._outer_number, id_, self._n_named)}",'
        text, data = message.get("text"), message.get("bytes")
        if text is not None and (text := text.lstrip()).startswith('{"'):
            return {**message, "text": name + text[1:]}
        if text is None and data is not None and (data := data.lstrip()).startswith(b'{"'):
            return {**message, "bytes": name.encode() + data[1:]}
        return message

    def _proof(self, number: bytes, id_: str, count: int) -> str:
        text = f"session\n{self._namespace}\n{self._ledger.generation}\n{number.decode()}\n{id_}\n{count}"
        return hmac.digest(self._key, text.encode(), hashlib.sha256).hex()[:32]
