"""What the gateways of one ledger must have in common, as a short text that can be stored and compared.

Gateways with different hash secrets count one key in two accounts; with different time zones they count one day in two
windows; with other periods or units in their limits, counters begin at 0 in the middle of a window. Each gateway leaves
its fingerprint in the store, and logs it if it finds another one there.

The text may be stored, since it reveals next to nothing of the secret. It holds 20 bits of a key derivation
(PBKDF2, some 50 ms a guess) that is salted with the namespace: one in a million secrets has the same 20 bits, so
that even somebody who tried them all would know no more than 20 bits of it. A changed secret goes unnoticed once in a
million changes.
"""

import hashlib
from collections.abc import Iterable, Mapping
from functools import lru_cache

from budget_middleware.core.limits.limits import LimitRule, Slot
from budget_middleware.core.units import Unit

ROUNDS = 100_000
_DIGITS = 5
_LONGEST_PERIODS = 400

VARIABLES: Mapping[str, str] = {
    "secret": "BUDGET_HASH_SECRET",
    "timezone": "BUDGET_TIMEZONE",
    "periods": "the periods of BUDGET_LIMITS",
}
"""What an operator calls each part of a fingerprint."""


def fingerprint(*, secret: str, namespace: str, timezone: str, limits: Iterable[LimitRule]) -> str:
    """The text for these settings. With a secret it takes some 50 ms, once a process."""
    return f"secret={_of_secret(secret, namespace)} timezone={timezone} periods={_periods(limits)}"


@lru_cache(16)
def _of_secret(secret: str, namespace: str) -> str:
    if not secret:
        return "none"
    salt = b"budget_middleware settings " + namespace.encode()
    return hashlib.pbkdf2_hmac("sha256", secret.encode("utf-8", "surrogatepass"), salt, ROUNDS).hex()[:_DIGITS]


def _periods(limits: Iterable[LimitRule]) -> str:
    named = {
        f"{'+'.join(rule.kinds)}/{_counted(rule.slot)}"
        for rule in limits
        if rule.slot is not None and rule.terms.amount is not None
    }
    text = ",".join(sorted(named))
    return text if len(text) <= _LONGEST_PERIODS else hashlib.sha256(text.encode()).hexdigest()[:16]


def _counted(slot: Slot) -> str:
    """What a limit counts by: its mode makes no counter of its own."""
    return slot.period if slot.unit is Unit.USD else f"{slot.period}|{slot.unit}"


def differences(one: str, other: str) -> list[str]:
    """What two fingerprints differ in, each as an operator calls it."""
    ours, theirs = _parts(one), _parts(other)
    return [variable for name, variable in VARIABLES.items() if ours.get(name) != theirs.get(name)]


def _parts(text: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in text.split(" ") if "=" in part)
