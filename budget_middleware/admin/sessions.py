"""Sessions of the dashboard: a signed cookie that any worker can read, and that nothing has to be stored for.

A cookie is `ROLE.BEGAN.EXPIRES.NONCE.SIGNATURE`, with times in seconds since 1970. The key follows from the tokens, so
that a new token ends all sessions, and several workers, also after a restart, know each other's. A page that somebody
loads renews the cookie. It keeps its nonce, of which a form's CSRF token is a signature: the forms of pages that were
loaded before it was renewed stay good. Nobody can take a cookie back that was stolen, so none is renewed for ever.
"""

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable
from typing import Final, Literal, NamedTuple

COOKIE: Final = "budget_session"
SESSION_S: Final = 3_600
"""A session in which no page is loaded for so long is over."""

LONGEST_SESSION_S: Final = 12 * 3_600
"""So long after its beginning a session is over, however much it is used."""

RENEWED_EVERY_S: Final = 60
"""A cookie that gains less than this is not set again."""

Role = Literal["write", "read"]
_COOKIE: Final = re.compile(r"(write|read)\.([0-9]{1,12})\.([0-9]{1,12})\.([0-9a-f]{32})\.([0-9a-f]{64})", re.ASCII)


class _Session(NamedTuple):
    """What a cookie says."""

    role: Role
    began_s: int
    expires_s: int
    nonce: str


class Sessions:
    """Begins sessions and recognises them. Without ``may_write`` none can write, whoever knows the key."""

    def __init__(self, *, key: bytes, may_write: bool = True, clock: Callable[[], float] = time.time) -> None:
        self._key = key
        self._may_write = may_write
        self._clock = clock

    def begin(self, role: Role) -> str:
        """The cookie of a new session. Set it HttpOnly, SameSite=Strict, below the admin path, and Secure over TLS."""
        now_s = int(self._clock())
        return self._cookie(_Session(role, now_s, now_s + SESSION_S, secrets.token_hex(16)))

    def renewed(self, cookie: str) -> str | None:
        """The cookie to set in place of one that is used; None where it would gain little, or is no session's."""
        session = self._session(cookie)
        if session is None:
            return None
        expires_s = min(int(self._clock()) + SESSION_S, session.began_s + LONGEST_SESSION_S)
        if expires_s - session.expires_s < RENEWED_EVERY_S:
            return None
        return self._cookie(session._replace(expires_s=expires_s))

    def role_of(self, cookie: str) -> Role | None:
        """What the session of a cookie may do; None for one that is over, or that is none of ours."""
        session = self._session(cookie)
        return session.role if session else None

    def csrf_token(self, cookie: str) -> str:
        """What a form of this session's page sends with each change."""
        session = _parsed(cookie)
        return self._signature("csrf", session.nonce if session else "")

    def is_csrf_token(self, token: str, cookie: str) -> bool:
        """Whether a form, or the header `x-csrf-token`, has the token of its session."""
        return hmac.compare_digest(token.encode("utf-8", "surrogatepass"), self.csrf_token(cookie).encode())

    def _cookie(self, session: _Session) -> str:
        signed = ".".join(map(str, session))
        return f"{signed}.{self._signature('session', signed)}"

    def _session(self, cookie: str) -> _Session | None:
        """The session of a cookie that is ours and not over."""
        session = _parsed(cookie)
        signed, _, signature = cookie.rpartition(".")
        if session is None or not hmac.compare_digest(signature, self._signature("session", signed)):
            return None
        if session.role == "write" and not self._may_write:
            return None
        return session if session.expires_s > self._clock() else None

    def _signature(self, purpose: str, text: str) -> str:
        return hmac.new(self._key, f"{purpose} {text}".encode(), hashlib.sha256).hexdigest()


def _parsed(cookie: str) -> _Session | None:
    """What a cookie says, whoever made it; None for what is no cookie of a session."""
    found = _COOKIE.fullmatch(cookie)
    if found is None:
        return None
    role, began_s, expires_s, nonce, _ = found.groups()
    return _Session("write" if role == "write" else "read", int(began_s), int(expires_s), nonce)
