"""What we book, held against LiteLLM's own cost calculator, at the prices of LiteLLM's map."""

import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from types import ModuleType

import pytest

from tests.bills.differences import differences_from, found
from tests.bills.exchanges import EXCHANGES, Exchange, booked_usd
from tests.gateways.running import HERE, PYTHON

# It takes half a minute to import where two cores serve everybody.
pytestmark = pytest.mark.gateways

COMPARED = {name: exchange for name, exchange in EXCHANGES.items() if exchange.litellm}


def line_for(name: str, exchange: Exchange) -> str:
    assert exchange.litellm is not None
    provider, kind, *named = exchange.litellm
    tier = exchange.answer.get("service_tier")
    return json.dumps([name, provider, kind, named[0] if named else exchange.model, tier, exchange.answer])


@pytest.fixture(scope="module")
def calculated() -> tuple[dict[str, object], dict[str, Decimal]]:
    """LiteLLM's price map, and what it asks for each exchange."""
    told = subprocess.run(
        [PYTHON, str(HERE / "litellm_costs.py")],
        input="\n".join(line_for(name, exchange) for name, exchange in COMPARED.items()),
        capture_output=True,
        check=True,
        text=True,
    )
    head, *rows = map(json.loads, told.stdout.splitlines())
    assert [row for row in rows if row[2]] == [], "LiteLLM has a price for each of them"
    return json.loads(Path(head).read_text(encoding="utf-8")), {name: Decimal(usd) for name, usd, _ in rows}


async def test_bills_differ_from_litellms_only_where_the_table_says_so(calculated, monkeypatch):
    price_map, theirs = calculated
    module = ModuleType("litellm")
    monkeypatch.setattr(module, "model_cost", price_map, raising=False)
    monkeypatch.setitem(sys.modules, "litellm", module)
    ours = {name: await booked_usd(exchange) for name, exchange in COMPARED.items()}
    assert theirs.keys() == ours.keys()
    assert len(ours) >= 50
    # It calculates with floats, and we round to the nano-dollar.
    assert found(ours, theirs, tolerated=Decimal("1e-9")) == differences_from("LiteLLM")
