"""Who may use the admin API and the dashboard: two bearer tokens, a signed-in page, or the gateway's own login.

Theory of operation: a token is compared by its SHA-256, in constant time, with both tokens at once, so that the time
of an answer says nothing of either. Wrong ones are counted by client; one that has used up its tries is answered 429
before its token is looked at. A cookie and the gateway's own login come with every request of a browser, also with
those that another site brings about, so a change by either has to prove that it comes from our own page: see
`is_same_site`.
"""

import hashlib
import hmac
import secrets
from typing import Final

from starlette.requests import HTTPConnection
from starlette.types import Scope

from budget_middleware.admin.sessions import COOKIE, Sessions
from budget_middleware.admin.wrong_tokens import WrongTokens
from budget_middleware.operations.operators import Operator, OperatorSource
from budget_middleware.settings import Settings

_NAME_CHARS: Final = 80

WRITER: Final = Operator("admin token", may_write=True)
READER: Final = Operator("read token")


class Access:
    """Tells who asks, by the settings and the gateway's own login."""

    def __init__(self, settings: Settings, operator_source: OperatorSource | None = None) -> None:
        write, read = (each.get_secret_value() for each in (settings.admin_token, settings.admin_read_token))
        # What is not set equals nothing that anybody can send.
        self._write_digest = _digest(write) if write else secrets.token_bytes(32)
        self._read_digest = _digest(read) if read else secrets.token_bytes(32)
        self._operator_source = operator_source
        self.wrong_tokens = WrongTokens()
        # Where only the read token is set, who has it knows the key.
        key = _digest(f"{write} {read}") if write or read else secrets.token_bytes(32)
        self.sessions = Sessions(key=key, may_write=bool(write))

    async def operator_of(self, scope: Scope) -> Operator | None:
        """Who asks, None for nobody; TooManyWrongTokens for a client that has guessed too often.

        A request with a bearer token is judged by that alone.
        """
        connection = HTTPConnection(scope)
        given = connection.headers.getlist("authorization")
        if given:
            return self.operator_by_token(bearer_token(given), client_of(scope))
        if (role := self.sessions.role_of(connection.cookies.get(COOKIE, ""))) is not None:
            return WRITER if role == "write" else READER
        if self._operator_source is None:
            return None
        return _with_plain_name(await self._operator_source(scope))

    def operator_by_token(self, token: str, client: str) -> Operator | None:
        """Who has a token, None for nobody; TooManyWrongTokens for a client that has guessed too often."""
        self.wrong_tokens.require_tries(client)
        digest = _digest(token)
        is_write = hmac.compare_digest(digest, self._write_digest)
        is_read = hmac.compare_digest(digest, self._read_digest)
        if is_write or is_read:
            return WRITER if is_write else READER
        self.wrong_tokens.count(client)
        return None


def bearer_token(headers: list[str]) -> str:
    """The token of the `authorization` headers of a request; empty, which is nobody's, for anything else."""
    scheme, _, token = headers[0].partition(" ") if len(headers) == 1 else ("", "", "")
    return token.strip(" ") if scheme.lower() == "bearer" else ""


def client_of(scope: Scope) -> str:
    """Whose wrong tokens are counted together: an address, of IPv6 the network of 64 bits that one client has."""
    host = (scope.get("client") or ("-", 0))[0] or "-"
    return ":".join(host.split(":")[:4]) if ":" in host and "." not in host else host


def is_same_site(scope: Scope) -> bool:
    """Whether a browser sent this from our own page, or no browser did.

    All browsers of today say `sec-fetch-site`; older ones say `origin` with each request that changes something.
    """
    connection = HTTPConnection(scope)
    site = connection.headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = connection.headers.get("origin")
    return origin is None or origin.partition("://")[2] == connection.headers.get("host", "")


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def _with_plain_name(operator: Operator | None) -> Operator | None:
    """In the journal a name stands before a colon, in one line."""
    if operator is None:
        return None
    name = "".join(letter if letter.isprintable() and letter != ":" else " " for letter in operator.name)
    return Operator(" ".join(name.split())[:_NAME_CHARS] or "unnamed", operator.may_write)
