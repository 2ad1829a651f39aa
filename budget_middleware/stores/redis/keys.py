"""The keys of a ledger: their names behind the prefix, and the types of their values."""

META = "meta"
HOLDS = "holds"
TOTALS = "totals"
JOURNAL = "entries"
VOIDED = "voided"
LIMITS = "limits"
LIMITS_LOG = "limits_log"
LIMITS_STATE = "limits_state"
LIMITS_WRITTEN_BACK = "limits_written_back"
NOTES = "notes"
REFUSALS = "refusals"

# Kinds of keys, of each of which there are many: `c:key:1f3a…|day|2026-11-24`.
COUNTER = "c"
HELD_ON = "h"
RESERVATION = "r"
ADJUSTMENT = "a"
LEARNT = "e"
SUM = "s"
SHADOW = "w"
HOME = "o"
FACT = "f"
TEXTS = "t"

# Where gateways of the previous format index what they hold: `lua/_previous.lua`.
PREVIOUS_HOLDS = "leases"
PREVIOUS_HELD_ON = "p"

TYPES = {
    COUNTER: "hash",
    RESERVATION: "string",
    ADJUSTMENT: "string",
    LEARNT: "string",
    SUM: "hash",
    SHADOW: "hash",
    HOME: "string",
    FACT: "string",
    TEXTS: "hash",
    HELD_ON: "zset",
    HOLDS: "zset",
    PREVIOUS_HELD_ON: "zset",
    PREVIOUS_HOLDS: "zset",
    JOURNAL: "zset",
    VOIDED: "zset",
    META: "hash",
    LIMITS: "hash",
    LIMITS_LOG: "zset",
    LIMITS_STATE: "hash",
    LIMITS_WRITTEN_BACK: "hash",
    TOTALS: "hash",
    NOTES: "hash",
    REFUSALS: "stream",
}

PREVIOUS_TYPES = {RESERVATION: "hash", ADJUSTMENT: "hash"}
"""What is of another type in the previous format."""


CHANNEL = "freed"
"""No key: where accounts are published of which less is held now, see ``lua/_dispatch.lua``."""


def key_prefix(namespace: str) -> str:
    """The prefix of all keys of one ledger. The braces are a hash tag: they keep a ledger on one cluster node."""
    return f"{{{namespace}}}:"
