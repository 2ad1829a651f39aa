"""A ledger that has moved to another store: one history of both has each cost once."""

import pytest

from budget_middleware.operations.migrating import Migration, migrate
from budget_middleware.stores.redis import RedisStore
from budget_middleware.testing import MovableClock
from tests.history.histories import Histories
from tests.stores.clocked import put_on
from tests.stores.verbs import finalize, reserve, target


@pytest.mark.parametrize("has_old_journal", [True, False])
async def test_what_was_migrated_is_booked_once(
    server_url: str, namespace: str, histories: Histories, has_old_journal: bool, *, monkeypatch: pytest.MonkeyPatch
):
    """Where only the new store was ever copied, the sums that came from the old one are all that there is."""
    put_on(MovableClock(), monkeypatch)
    stores = [RedisStore(server_url, namespace=f"{namespace}{end}", timeout_s=10) for end in ("", "-new")]
    old, new = stores
    key = target(at_ms=(await old.head()).now_ms)
    await old.reserve(reserve("r1", "0.40", key))
    await old.finalize(finalize("r1", "0.10", key))
    await old.finalize(finalize("r2", "0.20", key))
    if has_old_journal:
        await histories.copier(old, owner="same").copy_all()
    report = await migrate(Migration(server_url, server_url, namespace, f"{namespace}-new", quiet_s=0.0))
    await new.finalize(finalize("r3", "0.05", key))
    await histories.copier(new, owner="same").copy_all()
    assert report.is_equal
    assert histories.booked_nanos() == 350_000_000
    for store in stores:
        await store.aclose()
