"""Whether what is held is near what answers cost: how many of them outgrew their hold."""

from budget_middleware.core.statuses import Op, Status
from budget_middleware.operations.doctor.finding import Finding, Health
from budget_middleware.stores.base import Store

ANSWERS = 1_000
"""The share is that of so many of the last answers."""
MOST_GROWN = 0.15
"""Above this, estimates are no estimates: usually 2 to 6 % of answers outgrow their hold."""

_CHECK = "estimates"
# An answer of three counters writes six entries, and one more for each where it grows.
_ENTRIES = 10_000
# A share of fewer answers says little.
_FEW_ANSWERS = 100


async def growth_finding(store: Store) -> Finding:
    """How many answers outgrew their hold. StoreUnavailable or StoreRefused as for every call."""
    entries = await store.latest(count=_ENTRIES)
    grown = {entry.reservation_id for entry in entries if entry.status is Status.GROWN}
    booked = dict.fromkeys(entry.reservation_id for entry in reversed(entries) if entry.op is Op.FINALIZE)
    last = list(booked)[:ANSWERS]
    if not last:
        return Finding(_CHECK, Health.OK, "no answer was booked yet")
    share = sum(id_ in grown for id_ in last) / len(last)
    message = f"{100 * share:.1f} % of answers outgrew their hold in the last {len(last):,} (usual: 2 to 6)"
    if share <= MOST_GROWN or len(last) < _FEW_ANSWERS:
        return Finding(_CHECK, Health.OK, message)
    fix = "look with estimate MODEL; raise BUDGET_ESTIMATE_SPREAD, or name expected_output_tokens in BUDGET_PRICES"
    return Finding(_CHECK, Health.WARN, message, fix)
