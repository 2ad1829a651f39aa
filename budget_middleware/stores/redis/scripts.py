"""The scripts as they are sent: their texts, their digests, and what each is composed of.

Theory of operation. A script is composed of files that define some fifty Lua functions and, at last, ``run``. As an
EVAL script all of it is set up again by every call, which takes as long as half of a verb. As a *function* of the
server (Redis 7, Valkey 7.2) the same text is set up once; see ``functions`` for when that is used.
"""

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib import resources

from budget_middleware.stores.redis.generated import with_python_constants

VERBS_OF_REQUESTS = ("reserve", "finalize", "release", "extend", "grow")
"""The verbs that come by the thousand: those of one moment go together, in one call of one script."""

_REPLICATED = frozenset(
    {*VERBS_OF_REQUESTS, "expire", "adjust", "transfer", "repair", "sweep"}
    | {"limit", "write_back_limits", "claim_homes", "follow_limits"}
)

SHARED = (
    "_call",
    "_numbers",
    "_sorted_sets",
    "_meta",
    "_targets",
    "_records",
    "_previous",
    "_reservations",
    "_counters",
    "_series",
    "_holds",
    "_journal",
    "_changes",
    "_leases",
    "_answer",
)
"""The files in front of the verbs of every script, each of which may use those before it."""

_ALSO = {
    **dict.fromkeys(("limit", "limit_news", "index_limits", "write_back_limits"), ("_limits",)),
    **dict.fromkeys(("inspect", "repair"), ("_amounts",)),
    **dict.fromkeys(VERBS_OF_REQUESTS, ("_rejections",)),
    "adjust": ("_adjustments",),
    "transfer": ("_adjustments", "_rejections"),
    "learn": ("_learnt",),
    "shadow": ("_shadow",),
    "examine": ("_adjustments", "_learnt", "_shadow"),
}


@cache
def lua_text(name: str) -> str:
    return (resources.files("budget_middleware.stores") / "lua" / f"{name}.lua").read_text("utf-8")


LIBRARY_PREFIX = "budget_middleware_"
"""Names of our libraries begin so; a digest follows, for versions that differ may work on one server."""


@dataclass(frozen=True, slots=True)
class Script:
    """A script that does some verbs, whole, and the SHA-1 digest by which a server knows it."""

    digest: str
    text: str
    library: str
    """The same as a library of one function, whose name is the library's."""
    is_replicated: bool
    """Whether BUDGET_REPLICAS holds for its verbs: they write what counts, and may be repeated."""

    @property
    def function(self) -> str:
        return f"{LIBRARY_PREFIX}{self.digest}"


@cache
def script_of(verb: str, clock: str) -> Script:
    """The script that does a verb, behind a clock: the text that defines ``store_time_ms()``."""
    verbs = VERBS_OF_REQUESTS if verb in VERBS_OF_REQUESTS else (verb,)
    files = map(lua_text, (*SHARED, *_ALSO.get(verb, ()), *verbs, "_dispatch"))
    functions = "\n".join((clock, with_python_constants(files)))
    text = f"{functions}\nreturn run(KEYS, ARGV)"
    digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
    name = f"{LIBRARY_PREFIX}{digest}"
    return Script(digest, text, _LIBRARY.format(name=name, functions=functions), verb in _REPLICATED)


# While a library is loaded nothing but `redis` is there, so its functions are made by the first call.
_LIBRARY = """#!lua name={name}
local run
local function make_functions()
{functions}
return run
end
redis.register_function('{name}', function(keys, args)
  run = run or make_functions()
  return run(keys, args)
end)
"""
