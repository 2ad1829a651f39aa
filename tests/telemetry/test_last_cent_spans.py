"""The span of a reserve tells what was held in the end, where that is less than what was asked for at first."""

import pytest

from budget_middleware.core.units import Amounts
from tests.ledger.conftest import OpenLedger, hold, nanos
from tests.telemetry.conftest import BOTH_SETTINGS, Spans


@BOTH_SETTINGS
@pytest.mark.parametrize("base", ["memory"], indirect=True)
async def test_the_estimate_of_the_span_is_what_is_held(open_ledger: OpenLedger, spans: Spans):
    ledger = open_ledger()
    spent = hold("0.70")
    await ledger.reserve(spent)
    await ledger.finalize(spent, actual=Amounts(usd=nanos("0.70")))
    await ledger.reserve(hold("0.60", expected_nanos=nanos("0.20")))
    *_, last = [span for span in spans() if span.name == "budget.reserve"]
    attributes = dict(last.attributes or {})
    assert (attributes["budget.status"], attributes["budget.estimate_usd"]) == ("reserved", 0.3)
