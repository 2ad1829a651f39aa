"""Who pays for a benchmark's request: one, three or eight accounts, each with one limit that never binds."""

from typing import Any

_SOURCES = {
    "key": "token",
    "team": "header:x-team",
    "user": "header:x-user",
    "org": "header:x-org",
    "project": "header:x-project",
}
# Those without a source are the built-in ones: only a limit makes them accounts of a request.
_KINDS = ("key", "team", "global", "user", "org", "project", "model", "key+model")

MIXED_LIMITS = (
    "key=1000000/month; key=1000000000tokens/minute; key=1000000requests/minute; key=1000inflight;"
    " team=1000000/24h; team=1000000000tokens/day; global=1000000/month; global=1000000requests/hour"
)
"""Eight limits of three accounts, of every unit, one of them rolling."""


def settings_for(accounts: int) -> dict[str, Any]:
    """The settings under which a request has so many accounts."""
    kinds = _KINDS[:accounts]
    return {
        "accounts": "; ".join(f"{kind}={_SOURCES[kind]}" for kind in kinds if kind in _SOURCES),
        "limits": "; ".join(f"{kind}=1000000/month" for kind in kinds),
    }
