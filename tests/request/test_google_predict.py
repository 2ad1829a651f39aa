"""Google's `:predict`: pictures by the piece, embeddings by their tokens, and what nobody has a price for."""

import pytest

from budget_middleware.testing import ScriptedApp, call, json_answer

PATH = "/v1beta/models/%s:predict"
VERTEX = "/v1/projects/p/locations/l/publishers/google/models/%s:predict"
PRICES = """
[models.imagen-ours]
image = 0.04
[models.band]
call = 0.06
[models.vectors]  # A tenth of a cent for each token.
input = 1000
output = 0
"""
PICTURE = {"bytesBase64Encoded": "AAAA", "mimeType": "image/png"}
FILTERED = {"raiFilteredReason": "Unable to show generated images."}


@pytest.fixture
def prices(price_file):
    return price_file(PRICES)


async def predict(bench, model, answer, *, instances=None, path=PATH, status=200, query=b"", **parameters):
    body = {"instances": [{"prompt": "x"}] if instances is None else instances, "parameters": parameters}
    app = ScriptedApp(*json_answer(answer, status=status))
    headers = {"x-goog-api-key": "sk-one"}
    scope = {"query_string": query}
    return await call(bench.guard(app), body, path=path % model, headers=headers, scope=scope), app


@pytest.mark.parametrize("path", [PATH, VERTEX])
async def test_pictures_are_booked_one_by_one(bench, path):
    played, _ = await predict(bench, "imagen-ours", {"predictions": [PICTURE, PICTURE]}, path=path, sampleCount=2)
    assert (played.status, await bench.figures()) == (200, ("0.08", "0.00"))


async def test_those_count_that_came(bench):
    await predict(bench, "imagen-ours", {"predictions": [PICTURE, FILTERED]}, sampleCount=2)
    assert await bench.figures() == ("0.04", "0.00")


async def test_nothing_is_charged_where_all_are_filtered_out(bench):
    await predict(bench, "imagen-ours", {"predictions": [FILTERED]}, sampleCount=1)
    assert await bench.figures() == ("0.00", "0.00")


@pytest.mark.parametrize("answer", [{}, {"predictions": []}, {"x": 1}])
async def test_an_answer_that_shows_nothing_books_what_was_asked_for(bench, answer):
    await predict(bench, "imagen-ours", answer, sampleCount=2)
    assert await bench.figures() == ("0.08", "0.00")


async def test_an_error_costs_nothing(bench):
    await predict(bench, "imagen-ours", {"error": {"code": 400, "message": "x"}}, status=400)
    assert await bench.figures() == ("0.00", "0.00")


@pytest.mark.parametrize(
    ("instances", "parameters"),
    [
        pytest.param([{"prompt": "x"}], {"sampleCount": 26}, id="too many"),
        pytest.param([{"prompt": "x"}], {"sampleCount": 1, "sample_count": "26"}, id="in the other spelling, as text"),
        pytest.param([{"prompt": "x"}] * 26, {"sampleCount": 1}, id="many instances"),
        pytest.param([{"prompt": "x", "sample_count": 26}], {}, id="in the instance"),
        pytest.param([{"prompt": "x"}] * 7, {}, id="four each, unasked"),
        pytest.param([{"prompt": "x"}], {"sampleCount": 10**30}, id="beyond all numbers"),
    ],
)
async def test_more_than_the_budget_is_refused(bench, instances, parameters):
    played, app = await predict(bench, "imagen-ours", {}, instances=instances, **parameters)
    assert (played.status, played.json()["error"]["status"], app.scopes) == (429, "RESOURCE_EXHAUSTED", [])


@pytest.mark.parametrize("count", [0, -1, "many", 1.5, [1]])
async def test_what_is_no_number_is_refused(bench, count):
    played, _ = await predict(bench, "imagen-ours", {}, sampleCount=count)
    assert (played.status, played.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")


@pytest.mark.parametrize("model", ["nobody-knows-it", "imagen-unheard-of", "a/b/imagen-unheard-of"])
async def test_a_model_without_a_price_is_never_free(bench, model):
    played, app = await predict(bench, model, {"predictions": [PICTURE]})
    assert (played.status, app.scopes) == (400, [])
    assert await bench.figures() == ("0.00", "0.00")


async def test_music_is_sold_by_the_piece(bench):
    await predict(
        bench, "band", {"predictions": [{"audioContent": "AAAA", "mimeType": "audio/wav"}] * 2}, sample_count=2
    )
    assert await bench.figures() == ("0.12", "0.00")


@pytest.mark.parametrize("name", ["token_count", "tokenCount"])
async def test_embeddings_are_booked_by_the_tokens_that_the_answer_counts(bench, name):
    vector = {"embeddings": {"values": [0.1], "statistics": {name: 60, "truncated": False}}}
    instances = [{"content": "x", "task_type": "RETRIEVAL_QUERY"}] * 2
    await predict(bench, "vectors", {"predictions": [vector, vector]}, instances=instances)
    assert await bench.figures() == ("0.12", "0.00")


async def test_embeddings_without_statistics_are_booked_as_estimated(bench):
    await predict(
        bench, "vectors", {"predictions": [{"embeddings": {"values": [0.1]}}]}, instances=[{"content": "x" * 40}]
    )
    spent, held = await bench.figures()
    assert float(spent) >= 0.01
    assert held == "0.00"


async def test_a_field_mask_does_not_reach_the_app(bench):
    _, app = await predict(bench, "imagen-ours", {"predictions": [PICTURE]}, query=b"fields=x&a=b", sampleCount=1)
    assert app.scopes[0]["query_string"] == b"a=b"


@pytest.mark.parametrize(
    ("model", "cost"),
    [
        ("imagen-4.0-ultra-generate-001", "0.06"),
        ("imagen-3.0-capability-001", "0.04"),
        ("imagegeneration@006", "0.02"),
        ("lyria-002", "0.06"),
        ("virtual-try-on-001", "0.06"),
    ],
)
async def test_what_is_built_in(bench, model, cost):
    await predict(bench, model, {"predictions": [PICTURE]}, sampleCount=1)
    assert await bench.figures() == (cost, "0.00")


async def test_a_model_of_ones_own_is_no_call(bench):
    played, _ = await predict(bench, "7", {"predictions": [1]}, path="/v1/projects/p/locations/l/endpoints/%s:predict")
    assert (played.status, await bench.figures()) == (200, ("0.00", "0.00"))
