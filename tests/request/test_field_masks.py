"""Field masks: Google's servers leave out of an answer what `fields` does not name, such as what it has used."""

from urllib.parse import unquote

import pytest

from budget_middleware.testing import ScriptedApp, call, json_answer
from tests.request.wire import ask, bearer

PATH = "/v1beta/models/plain:generateContent"
ASKED = {"contents": [{"parts": [{"text": "x"}]}], "generationConfig": {"maxOutputTokens": 400}}
ANSWER = {"candidates": [], "modelVersion": "plain", "usageMetadata": {"candidatesTokenCount": 100}}


def seen_by(app):
    return app.scopes[-1]


@pytest.mark.parametrize("path", [PATH, "/v1beta/batches/abc"])
@pytest.mark.parametrize(
    ("query", "left"),
    [
        (b"", b""),
        (b"alt=sse&x=a%20b", b"alt=sse&x=a%20b"),
        (b"fields=candidates", b""),
        (b"alt=sse&%24fields=usageMetadata.promptTokenCount&x", b"alt=sse&x"),
        (b"a=fields&$fields=x&f%69elds=y", b"a=fields"),
        (b"a=1;fields=x;b=2", b"a=1;b=2"),
        (b"f%2569elds=x&a=1", b"a=1"),
        (b"fields%3Dx&+Fields+=y&a", b"a"),
        (b"callback=f&a=1&$callback=g", b"a=1"),
        (b"alt=proto", b""),
        (b"a=1&%24alt=%70roto&alt=JSON%3Benum-encoding=int", b"a=1&alt=JSON%3Benum-encoding=int"),
        (b"alt=jsonp&alt=media&alt=", b"alt=media"),
        (b"$httpMethod=POST&a=1&%24req=%7B%7D&$ct=application/json", b"a=1"),
        (b"$httpHeaders=X-Goog-FieldMask:candidates&%2524REQ=x&a", b"a"),
        (b"x=1%26%24httpMethod%3DPOST%26%24req%3D%7B%7D&a=1%26b", b"a=1%26b"),
        (b"a&x=1%2526fields%253Dcandidates;b=2%3Bcallback=f&x=1%26alt%3Dproto", b"a"),
    ],
)
async def test_the_app_is_asked_for_the_whole_answer(memory, path, query, left):
    app = ScriptedApp(*json_answer(ANSWER))
    if path != PATH:
        created = ScriptedApp(*json_answer({"name": "batches/abc"}))
        await call(
            memory.guard(created), {"batch": {}}, path="/v1beta/models/plain:batchGenerateContent", headers=bearer()
        )
    headers = {**bearer(), "x-goog-fieldmask": "candidates", "x-other": "1"}
    method = "POST" if path == PATH else "GET"
    body = ASKED if path == PATH else b""
    await call(memory.guard(app), body, path=path, method=method, headers=headers, scope={"query_string": query})
    scope = seen_by(app)
    assert scope["query_string"] == left
    names = [name for name, _ in scope["headers"]]
    assert b"x-other" in names
    assert b"x-goog-fieldmask" not in names


OTHER = [
    *(b"$httpMethod=POST&$req=x", b"a=b&%24httpMethod=POST", b"a;%2524HttpMethod=post", b"x=1&$httpMethod+=+POST"),
    *(b"x=1%26%24httpMethod%3DPOST%26%24req%3Dx", b"x=1%253B%2524httpMethod=POST"),
]


@pytest.mark.parametrize("query", OTHER)
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
async def test_a_get_whose_query_means_a_post_is_metered_as_one(memory, method, query):
    """Google's servers take it for one, with the body that is in the query."""
    app, scope = ScriptedApp(*json_answer(ANSWER)), {"query_string": query}
    guard = memory.guard(app, limits="key=9/month")
    played = await call(guard, path=PATH, method=method, headers=bearer(), scope=scope)
    assert "x-budget-reservation-id" in played.headers
    assert b"http" not in seen_by(app)["query_string"].lower()
    assert await memory.figures() == ("0.10", "0.00")
    spent = ScriptedApp(*json_answer(ANSWER))
    guard = memory.guard(spent, limits="key=0/month")
    assert (await call(guard, path=PATH, method=method, headers=bearer(), scope=scope)).status == 429
    assert spent.scopes == []


@pytest.mark.parametrize("path", [f"{PATH}?$httpMethod=POST&$req=x", f"{PATH}%3F$httpMethod=POST"])
async def test_nor_does_it_pass_within_the_path(memory, path):
    app = ScriptedApp(*json_answer(ANSWER))
    played = await call(memory.guard(app), path=path, method="GET", headers=bearer())
    assert (played.status, app.scopes) == (400, [])


async def test_another_body_in_the_query_does_not_reach_the_app(memory):
    """Google serves OpenAI's API too, at paths of any kind."""
    app, scope = ScriptedApp(*json_answer(ANSWER)), {"query_string": b"a=1&$req=%7B%7D&fields=x"}
    await call(memory.guard(app), ask(100), path="/v1beta/openai/chat/completions", headers=bearer(), scope=scope)
    assert seen_by(app)["query_string"] == b"a=1&fields=x"


@pytest.mark.parametrize("query", [b"$filter=httpMethod", b"httpMethod=POST", b"a=100%25", b"$httpMethod=", b"$req=x"])
async def test_other_queries_of_a_get_are_free(memory, query):
    app, scope = ScriptedApp(*json_answer(ANSWER)), {"query_string": query}
    await call(memory.guard(app), path="/v1beta/models", method="GET", headers=bearer(), scope=scope)
    assert seen_by(app)["query_string"] == query
    assert await memory.figures() == ("0.00", "0.00")


@pytest.mark.parametrize("name", ["x-goog-fieldmask", "X-Goog-FieldMask", "x_goog_fieldmask", "x-goog-field-mask"])
async def test_the_header_is_taken_away_however_it_is_spelled(memory, name):
    app = ScriptedApp(*json_answer(ANSWER))
    await call(memory.guard(app), ASKED, path=PATH, headers={**bearer(), name: "candidates"})
    assert name.lower().encode() not in [sent.lower() for sent, _ in seen_by(app)["headers"]]


@pytest.mark.parametrize(
    "end",
    [
        *("%3Ffields=candidates", "%3Falt=sse%26%24fields=x", "%253Ffields=x", "%3Ba%3Ffields=x"),
        *("%3Fcallback=f", "%3F$alt=proto"),
    ],
)
async def test_a_mask_in_the_path_is_refused(memory, end):
    """A gateway that decodes a path makes a query of it."""
    app = ScriptedApp(*json_answer(ANSWER))
    raw = f"{PATH}{end}".encode()
    played = await call(
        memory.guard(app), ASKED, path=unquote(f"{PATH}{end}"), headers=bearer(), scope={"raw_path": raw}
    )
    assert played.status in {400, 403}
    assert not app.scopes


VERTEX = "/v1/projects/p/locations/l"


@pytest.mark.parametrize(
    "path",
    [
        "/v1beta/models/veo:predictLongRunning",
        *(f"{VERTEX}/batchPredictionJobs", f"{VERTEX}/tuningJobs", "/v1beta/interactions"),
        f"{VERTEX}/endpoints/openapi/chat/completions",
        f"{VERTEX}/publishers/anthropic/models/plain:rawPredict",
    ],
)
async def test_an_answer_of_google_that_creates_a_job_or_is_anothers_is_asked_for_whole(memory, path):
    """Without its name nobody would know the job when it is over."""
    app = ScriptedApp(*json_answer({"name": "projects/p/locations/l/kind/1", "id": "1"}))
    body = {"model": "plain", "messages": [], "max_tokens": 9, "instances": [{}], "input": "x"}
    guard = memory.guard(app, unknown_model="1/1", limits="key=1000/month")
    await call(guard, body, path=path, headers=bearer(), scope={"query_string": b"a=1&$fields=done&alt=proto"})
    assert seen_by(app)["query_string"] == b"a=1"


async def test_the_fields_of_others_are_left_alone(memory):
    app = ScriptedApp(*json_answer({"usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}}))
    asked = {"model": "plain", "messages": [], "max_tokens": 9}
    await call(memory.guard(app), asked, headers=bearer(), scope={"query_string": b"fields=x"})
    assert seen_by(app)["query_string"] == b"fields=x"
