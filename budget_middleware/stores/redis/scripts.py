"""The scripts as they are sent: their texts, their digests, and what each is composed of."""

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib import resources

from budget_middleware.stores.redis.generated import with_pythons

VERBS_OF_REQUESTS = ("reserve", "finalize", "release", "extend")
"""The verbs that come by the thousand: those of one moment go together, in one call of one script."""

SHARED = (
    "_call",
    "_numbers",
    "_meta",
    "_targets",
    "_reservations",
    "_counters",
    "_journal",
    "_changes",
    "_leases",
    "_answer",
)
"""The files in front of the verbs of every script, each of which may use those before it."""

_ALSO = {
    **dict.fromkeys(("limit", "limit_news", "index_limits", "write_back_limits"), ("_limits",)),
    **dict.fromkeys(("inspect", "repair"), ("_amounts",)),
}


@cache
def lua_text(name: str) -> str:
    return (resources.files("budget_middleware.stores") / "lua" / f"{name}.lua").read_text("utf-8")


@dataclass(frozen=True, slots=True)
class Script:
    """A script that does some verbs, whole, and the SHA-1 digest by which a server knows it."""

    digest: str
    text: str


@cache
def script_of(verb: str, clock: str) -> Script:
    """The script that does a verb, behind a clock: the text that defines ``store_time_ms()``."""
    verbs = VERBS_OF_REQUESTS if verb in VERBS_OF_REQUESTS else (verb,)
    text = "\n".join((clock, with_pythons(map(lua_text, (*SHARED, *_ALSO.get(verb, ()), *verbs, "_dispatch")))))
    return Script(hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest(), text)
