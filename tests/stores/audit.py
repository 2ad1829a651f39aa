"""The invariants that need no knowledge of what was asked: what a store says must explain itself."""

from budget_middleware.core.journal.audit import Audit, Report
from budget_middleware.core.model import Balance, Counter
from budget_middleware.core.statuses import Status
from budget_middleware.stores.base import Store
from budget_middleware.stores.journals import journals_of
from tests.stores.verbs import seqs, whole_journal


async def audit(store: Store) -> None:
    """I1, I2 and I9 over a whole, untrimmed journal, on each shard if there are several."""
    for each in (await journals_of(store)).values():
        await _audit(each)


async def _audit(store: Store) -> None:
    told = await journalled(store)
    for proof in await store.proofs():
        counter, balance = proof.counter, proof.balance
        assert balance.reserved >= 0, f"I1 {counter}"
        assert balance.spent - proof.adjusted >= 0, f"I1 {counter}"
        assert balance.reserved == proof.held, f"I2 {counter}"
        assert balance == told.pop(counter, Balance()), f"I9 {counter}: the journal leads elsewhere"
    assert not {counter for counter, left in told.items() if left != Balance()}, "I9: counters that do not exist"


async def journalled(store: Store) -> dict[Counter, Balance]:
    """Where the journal leads each counter, its entries being chained without a gap."""
    entries = await whole_journal(store)
    assert seqs(entries) == list(range(1, (await store.head()).seq + 1)), "I9: seq has a gap"
    told: dict[Counter, Balance] = {}
    for entry in entries:
        # A repair begins with whatever it found.
        if entry.status is not Status.REPAIRED:
            assert entry.spent_delta or entry.reserved_delta, f"I9: {entry} changes nothing"
            before = Balance(entry.spent_before, entry.reserved_before)
            assert before == told.get(entry.counter, Balance()), f"I9: {entry} does not chain"
        told[entry.counter] = Balance(entry.spent, entry.reserved)
    return told


async def audit_report(store: Store) -> Report:
    """What `budget-middleware audit` would say."""
    head = await store.head()
    audit_ = Audit(
        await store.proofs(), head_seq=head.seq, now_ms=head.now_ms, forgotten_after_ms=lambda period: 10**12
    )
    audit_.add(await whole_journal(store))
    return audit_.report()
