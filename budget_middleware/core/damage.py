"""Records in the store that are not sound, and what is wrong with them."""

from dataclasses import dataclass
from enum import StrEnum


class Flaw(StrEnum):
    """What is wrong with a record in the store."""

    WRONG_TYPE = "wrong_type"
    UNREADABLE = "unreadable"
    """A field is missing, or is no such value."""
    FOREIGN = "foreign"
    """A key in the ledger's namespace that no ledger writes."""
    LEASE_WITHOUT_RESERVATION = "lease_without_reservation"
    RESERVATION_WITHOUT_LEASE = "reservation_without_lease"
    """It is pending, and some index does not know it."""
    WRONG_TOTAL = "wrong_total"
    """The totals by kind are not the sums of what is pending."""

    @property
    def is_mendable(self) -> bool:
        """Whether other records show what this one should be."""
        return self in _MENDABLE


_MENDABLE = frozenset({Flaw.LEASE_WITHOUT_RESERVATION, Flaw.RESERVATION_WITHOUT_LEASE, Flaw.WRONG_TOTAL})


@dataclass(frozen=True, slots=True)
class Damage:
    """A record that is not sound. ``key`` is the store's; a field or an entry stands behind it after a space."""

    key: str
    flaw: Flaw
