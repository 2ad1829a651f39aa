"""A repair is an adjust: a span of its own with the change of its counter, which has the seq of the entry."""

import pytest

from budget_middleware.ledger import Ledger
from budget_middleware.operations.context import OperatorContext
from budget_middleware.operations.repairs import repair
from budget_middleware.settings_loading import load
from budget_middleware.stores.base import Store
from budget_middleware.telemetry import Telemetry
from tests.ledger.faults import Fault, FaultyStore, reply_lost, request_lost
from tests.stores.audit import audit_report
from tests.stores.by_hand import change_by_hand
from tests.stores.verbs import KEY, finalize, reserve
from tests.telemetry.conftest import BOTH_SETTINGS, Spans
from tests.telemetry.proof import all_changes, attribute, counter_says, id_of, ids_in, named, only


@BOTH_SETTINGS
@pytest.mark.parametrize("fault", [None, request_lost, reply_lost])
async def test_a_repair_is_told_once(
    base: Store, faults: FaultyStore, spans: Spans, *, fault: Fault | None, spans_per: str
):
    await base.reserve(reserve("r1", "0.60"))
    await base.finalize(finalize("r0", "0.10"))
    await change_by_hand(base, KEY.counter, spent=5, reserved=3)
    if fault:
        faults.meets("repair", fault)
    context = OperatorContext(load(), faults.store, Ledger(faults.store, telemetry=Telemetry(spans=spans_per)))
    repaired = await repair(context, (await audit_report(base)).corrections)
    (entry,) = repaired.entries
    assert repaired.not_repaired == ()
    assert (await audit_report(base)).drift == ()

    verb = only(spans(), "budget.adjust")
    (change,) = [each for each in all_changes(spans()) if each.verb is verb]
    assert dict(change.attributes) == counter_says(entry)
    assert change.is_event == (spans_per == "verb")
    assert id_of(verb) == ids_in(entry.trace)
    assert attribute(verb, "budget.reason") == "audit"
    assert attribute(verb, "budget.reservation.id") == entry.reservation_id
    assert named(spans(), "budget.reserve") == []
