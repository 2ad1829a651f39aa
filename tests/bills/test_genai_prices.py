"""What we book, held against the extraction and the prices of `genai-prices`, and a stream against its whole answer."""

from decimal import Decimal

import genai_prices
import pytest
from hypothesis import HealthCheck, given, settings

from tests.apis.cuts import CUTS
from tests.bills.differences import differences_from, found
from tests.bills.exchanges import EXCHANGES, NOW, booked_usd
from tests.examples import examples

STREAMS = [name for name, exchange in EXCHANGES.items() if exchange.stream]


def their_usd(exchange) -> Decimal:
    provider, flavour, *named = exchange.genai_prices
    model = dict.fromkeys(("model", "modelVersion"), named[0]) if named else {}
    told = genai_prices.extract_usage({**exchange.answer, **model}, provider_id=provider, api_flavor=flavour)
    return told.calc_price(genai_request_timestamp=NOW).total_price


async def test_bills_differ_from_those_of_genai_prices_only_where_the_table_says_so():
    compared = {name: exchange for name, exchange in EXCHANGES.items() if exchange.genai_prices}
    ours = {name: await booked_usd(exchange) for name, exchange in compared.items()}
    theirs = {name: their_usd(exchange) for name, exchange in compared.items()}
    assert len(compared) >= 45
    assert found(ours, theirs) == differences_from("genai-prices")


@pytest.mark.parametrize("name", STREAMS)
async def test_a_streamed_answer_costs_as_much_as_the_whole_one(name):
    whole = await booked_usd(EXCHANGES[name])
    assert whole > 0
    assert await booked_usd(EXCHANGES[name], streamed=True) == whole


@pytest.mark.parametrize("name", STREAMS)
@settings(max_examples=examples(10), deadline=None, suppress_health_check=list(HealthCheck))
@given(places=CUTS)
async def test_it_costs_as_much_wherever_the_stream_is_cut(name, places):
    exchange = EXCHANGES[name]
    assert await booked_usd(exchange, streamed=True, places=places) == await booked_usd(exchange)


def test_the_corpus_has_each_dialect():
    ends = (
        *("/chat/completions", "/completions", "/responses", "/messages", "/embeddings", "/rerank", "/converse"),
        *("/invoke", ":generateContent", ":embedContent", ":rawPredict", "/api/chat", "/images/generations"),
        *("/images/edits", "/audio/transcriptions"),
    )
    for end in ends:
        assert any(exchange.path.endswith(end) for exchange in EXCHANGES.values()), end
