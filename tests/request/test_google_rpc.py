"""Google's methods by their other addresses: those of gRPC, which its servers also answer over HTTP, behind `$rpc`."""

import pytest

from budget_middleware.testing import ScriptedApp, call, json_answer
from tests.request.wire import bearer

SERVICE = "/google.ai.generativelanguage.v1beta.GenerativeService"
ASKED = {
    "model": "models/plain",
    "contents": [{"parts": [{"text": "x"}]}],
    "generationConfig": {"maxOutputTokens": 400},
}
ANSWER = {"candidates": [], "modelVersion": "plain", "usageMetadata": {"candidatesTokenCount": 100}}


@pytest.mark.parametrize(
    "path",
    [
        f"/$rpc{SERVICE}/GenerateContent",
        f"/gemini/$rpc{SERVICE}/StreamGenerateContent",
        f"{SERVICE}/GenerateContent",
        "/$rpc/google.cloud.aiplatform.v1.PredictionService/GenerateContent",
    ],
)
async def test_a_method_of_a_service_is_metered_by_the_model_in_its_body(bench, path):
    app = ScriptedApp(*json_answer(ANSWER))
    await call(bench.guard(app), ASKED, path=path, headers=bearer())
    assert len(app.scopes) == 1
    assert await bench.figures() == ("0.10", "0.00")
    refusing = ScriptedApp(*json_answer(ANSWER))
    played = await call(bench.guard(refusing, limits="key=0/month"), ASKED, path=path, headers=bearer())
    assert (played.status, refusing.scopes) == (429, [])


@pytest.mark.parametrize("method", ["GenerateContent", "EmbedContent", "BatchGenerateContent", "NotKnown"])
async def test_a_body_in_binary_names_no_model(memory, method):
    app = ScriptedApp(*json_answer(ANSWER))
    headers = {**bearer(), "content-type": "application/x-protobuf"}
    played = await call(memory.guard(app), b"\n\x0cmodels/plain", path=f"/$rpc{SERVICE}/{method}", headers=headers)
    assert (played.status, app.scopes) == (400, [])
    assert await memory.figures() == ("0.00", "0.00")


@pytest.mark.parametrize("method", ["CountTokens", "ComputeTokens"])
async def test_counting_is_free(memory, method):
    app = ScriptedApp(*json_answer({"totalTokens": 9}))
    assert (await call(memory.guard(app), ASKED, path=f"/$rpc{SERVICE}/{method}", headers=bearer())).status == 200
    assert await memory.figures() == ("0.00", "0.00")
