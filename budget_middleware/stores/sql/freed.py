"""Accounts of which less is held now, as the journal says."""

from collections.abc import Sequence

from budget_middleware.stores.records.records import unpack_targets
from budget_middleware.stores.sql.scripts import At, Query, Script, ask

_STEPS = "select targets, figures from {table} where ledger = ? and last_seq > ?"


def freed_since(at: At, seq: int | None) -> Script[tuple[Sequence[str], int]]:
    """The accounts of what was given back after a seq (None: nothing), and the seq up to which that is."""
    ((head,),) = yield from ask("select seq from budget_ledgers where id = ?", at.ledger)
    if seq is None or head <= seq:
        return (), head
    after = (at.ledger, seq)
    kept, voided = yield [Query(_STEPS.format(table=table), after) for table in ("budget_journal", "budget_voided")]
    accounts: dict[str, None] = {}
    for targets, figures in (*kept, *voided):
        deltas = figures.split()[1::4]
        for target, delta in zip(unpack_targets(targets), deltas, strict=True):
            if delta.startswith("-"):
                accounts[target.account] = None
    return list(accounts), head


def touch(at: At) -> Script[None]:
    """Write to the ledger what is there: fails where the verbs would."""
    yield [Query("update budget_ledgers set namespace = namespace where id = ?", (at.ledger,))]
