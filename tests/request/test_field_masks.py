"""Field masks: Google's servers leave out of an answer what `fields` does not name, such as what it has used."""

import pytest

from budget_middleware.testing import ScriptedApp, call, json_answer
from tests.request.wire import bearer

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


async def test_the_fields_of_others_are_left_alone(memory):
    app = ScriptedApp(*json_answer({"usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}}))
    asked = {"model": "plain", "messages": [], "max_tokens": 9}
    await call(memory.guard(app), asked, headers=bearer(), scope={"query_string": b"fields=x"})
    assert seen_by(app)["query_string"] == b"fields=x"
