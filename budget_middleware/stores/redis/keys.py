"""Where a ledger's records are: the names of its keys behind their prefix, and the types of what is there."""

META = "meta"
LEASES = "leases"
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
PENDING = "p"
RESERVATION = "r"
ADJUSTMENT = "a"

TYPES = {
    COUNTER: "hash",
    RESERVATION: "hash",
    ADJUSTMENT: "hash",
    PENDING: "zset",
    LEASES: "zset",
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

RESERVATION_FIELDS = ("state", "targets", "amount", "charge", "actual", "created", "deadline", "trace")
"""Of a reservation's hash, in the order of the fields of ``Reservation`` behind its id."""


def key_prefix(namespace: str) -> str:
    """The prefix of all keys of one ledger. The braces are a hash tag: they keep a ledger on one cluster node."""
    return f"{{{namespace}}}:"
