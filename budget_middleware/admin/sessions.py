"""Sessions of the dashboard: a signed cookie that any worker can read, and that nothing has to be stored for.

A cookie is `ROLE.EXPIRES.NONCE.SIGNATURE`. The key follows from the tokens, so that a new token ends all sessions, and
several workers, also after a restart, know each other's. A form's CSRF token is a signature of the cookie.
"""

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable
from typing import Final, Literal

COOKIE: Final = "budget_session"
SESSION_S: Final = 3_600
"""A session that nobody uses for so long is over; the page begins it anew meanwhile."""

Role = Literal["write", "read"]
_COOKIE: Final = re.compile(r"(write|read)\.([0-9]{1,12})\.([0-9a-f]{32})\.([0-9a-f]{64})", re.ASCII)


class Sessions:
    """Begins sessions and recognises them."""

    def __init__(self, *, key: bytes, clock: Callable[[], float] = time.time) -> None:
        self._key = key
        self._clock = clock

    def begin(self, role: Role) -> str:
        """The cookie of a new session. Set it HttpOnly, SameSite=Strict, below the admin path, and Secure over TLS."""
        body = f"{role}.{int(self._clock()) + SESSION_S}.{secrets.token_hex(16)}"
        return f"{body}.{self._signature('session', body)}"

    def role_of(self, cookie: str) -> Role | None:
        """What the session of a cookie may do; None for one that is over, or that is none of ours."""
        found = _COOKIE.fullmatch(cookie)
        if found is None:
            return None
        body, _, signature = cookie.rpartition(".")
        is_ours = hmac.compare_digest(signature, self._signature("session", body))
        if not is_ours or int(found[2]) <= self._clock():
            return None
        return "write" if found[1] == "write" else "read"

    def csrf_token(self, cookie: str) -> str:
        """What a form of this session's page sends with each change."""
        return self._signature("csrf", cookie)

    def is_csrf_token(self, token: str, cookie: str) -> bool:
        """Whether a form, or the header `x-csrf-token`, has the token of its session."""
        return hmac.compare_digest(token.encode("utf-8", "surrogatepass"), self.csrf_token(cookie).encode())

    def _signature(self, purpose: str, text: str) -> str:
        return hmac.new(self._key, f"{purpose} {text}".encode(), hashlib.sha256).hexdigest()
