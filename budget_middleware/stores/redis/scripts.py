"""The scripts as they are sent: their texts, their digests, and where a ledger's keys are."""

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib import resources

VERBS_OF_REQUESTS = ("reserve", "finalize", "release", "extend")
"""The verbs that come by the thousand: those of one moment go together, in one call of one script."""


LIMIT_VERBS = ("limit", "limit_news", "index_limits", "write_back_limits")
"""The verbs on runtime limits; their scripts share `_limits.lua`."""


def key_prefix(namespace: str) -> str:
    """The prefix of all keys of one ledger. The braces are a hash tag: they keep a ledger on one cluster node."""
    return f"{{{namespace}}}:"


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
    shared = ("_shared", "_limits") if verb in LIMIT_VERBS else ("_shared",)
    text = "\n".join((clock, *map(lua_text, (*shared, *verbs, "_dispatch"))))
    return Script(hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest(), text)
