"""A gateway with BUDGET_HISTORY_URL copies what it books, beside its requests."""

import logging

from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from budget_middleware import BudgetMiddleware
from budget_middleware.core.statuses import Status
from tests.history.histories import spent_in
from tests.request.wire import PRICES, ask, bearer, usage


def test_what_a_gateway_books_is_in_its_history(tmp_path, histories, caplog):
    prices = tmp_path / "prices.toml"
    prices.write_text(PRICES)

    async def complete(request):
        return JSONResponse({"choices": [], "usage": usage(7)})

    app = Starlette(routes=[Route("/v1/chat/completions", complete, methods=["POST"])])
    gateway = BudgetMiddleware(app, history_url=histories.url, prices=str(prices), limits="key=5/day")
    with caplog.at_level(logging.WARNING), TestClient(gateway) as client:
        for _ in range(3):
            assert client.post("/v1/chat/completions", json=ask(), headers=bearer()).status_code == 200
        assert client.portal is not None
        spent = client.portal.call(spent_in, gateway.ledger.store)
    assert "memory://: the history has the entries of one process" in caplog.text
    assert spent
    assert histories.balances() == spent
    ended = [entry for entry in histories.entries() if entry.status is Status.FINALIZED]
    assert len(ended) == 3
    assert all(entry.bill for entry in ended)
