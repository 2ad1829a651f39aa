"""Results of a batch that its client finds by their file, without asking for the batch."""

import asyncio
import json

import pytest
from starlette.responses import FileResponse

from budget_middleware.apis.jobs.batch_states import NamedOutput, outputs_named_in
from budget_middleware.testing import PlayedRequest, ScriptedApp, call, chunk, json_answer, start
from tests.request.test_batch_requests import BATCHES, create, ended, lines, look, planned, results, upload
from tests.request.test_hidden_looks import Download
from tests.request.turns import turns_during
from tests.request.wire import bearer

CONTENT = "/v1/files/file-out/content"
OUTPUT = {"id": "file-out", "object": "file", "purpose": "batch_output", "filename": "batch_1_output.jsonl"}
GEMINI = "/v1beta/models/plain:batchGenerateContent"
OPERATION = {"name": "batches/abc", "metadata": {"state": "BATCH_STATE_PENDING"}}


async def begin(bench):
    await upload(bench, planned(600, 200))
    await create(bench)
    assert await bench.figures() == ("0.00", "0.40")


@pytest.mark.parametrize(("used", "spent"), [((700, 900), "0.80"), ((100, 200), "0.40")], ids=["more", "less"])
async def test_a_file_that_is_named_after_its_batch_books_it_at_its_estimate_at_least(bench, used, spent):
    await begin(bench)
    for _ in range(2):
        await look(bench, "/v1/files", {"data": [{"id": "file-in", "purpose": "batch"}, OUTPUT]})
    assert await bench.figures() == ("0.00", "0.40")
    await look(bench, CONTENT, lines(results(*used)))
    assert await bench.figures() == (spent, "0.00")


async def test_what_the_batch_says_of_its_file_goes_before_the_name(bench):
    await begin(bench)
    await look(bench, "/v1/files", {"data": [OUTPUT]})
    await look(bench, f"{BATCHES}/batch_1", ended())
    await look(bench, CONTENT, lines(results(100, 200)))
    assert await bench.figures() == ("0.15", "0.00")


@pytest.mark.parametrize(
    "file",
    [
        {**OUTPUT, "purpose": "batch"},
        {**OUTPUT, "purpose": None},
        {**OUTPUT, "filename": "batch_1_error.jsonl"},
        {**OUTPUT, "filename": "batch_2_output.jsonl"},
        {**OUTPUT, "id": "file-other"},
    ],
)
async def test_other_files_change_nothing(memory, file):
    await begin(memory)
    await look(memory, "/v1/files", {"data": [file]})
    await look(memory, CONTENT, lines(results(100, 200)))
    assert await memory.figures() == ("0.00", "0.40")


async def test_a_download_by_its_name_is_left_alone(memory):
    """Others have such a route, for files of any length, which are resumed at any byte."""
    app, asked = ScriptedApp(*json_answer(OUTPUT)), {"range": "bytes=9-", "accept-encoding": "br"}
    await call(memory.guard(app), path="/files/film.mp4", method="GET", headers={**bearer(), **asked})
    assert {"range", "accept-encoding"} <= {name.decode() for name, _ in app.scopes[0]["headers"]}


@pytest.mark.parametrize("text", [b"", b"[]", b'{"data": 5}', b'{"id": 5}', b'{"data": [[]]}', b"[" * 100_000, b"\xff"])
def test_odd_answers_about_files(text):
    assert list(outputs_named_in(text)) == []


def test_so_many_outputs_are_kept_at_most():
    listed = json.dumps({"data": [{**OUTPUT, "id": f"f{n}"} for n in range(1_500)]}).encode()
    named = outputs_named_in(listed)
    assert (len(named), named[0]) == (1_000, NamedOutput("f0", "batch_1"))


async def test_others_run_while_many_files_are_listed(memory):
    files = [{**OUTPUT, "id": f"f{n}", "filename": f"batch_{n}_output.jsonl"} for n in range(10_000)]
    app = ScriptedApp(*json_answer({"object": "list", "data": files}))
    turns = await turns_during(call(memory.guard(app), path="/v1/files", method="GET", headers=bearer()))
    assert turns > 200


def answered(tokens):
    usage = {"promptTokenCount": 9, "candidatesTokenCount": tokens, "totalTokenCount": 9 + tokens}
    return {"response": {"modelVersion": "plain", "usageMetadata": usage}}


async def begin_google(bench):
    body = {"batch": {"inputConfig": {"fileName": "files/in"}}}
    await call(bench.guard(ScriptedApp(*json_answer(OPERATION))), body, path=GEMINI, headers=bearer())
    assert await bench.figures() == ("0.00", "1.00")


@pytest.mark.parametrize(("tokens", "spent"), [(4_000, "2.00"), (200, "1.00")], ids=["more", "less"])
async def test_geminis_file_has_the_name_of_its_batch(bench, tokens, spent):
    await begin_google(bench)
    path = "/download/v1beta/files/batch-abc:download"
    await look(bench, path, lines(json.dumps(answered(tokens)).encode(), pieces=1))
    assert await bench.figures() == (spent, "0.00")


async def test_inlined_answers_are_read_to_the_end_though_the_client_leaves(memory):
    await begin_google(memory)
    shown = {"response": {"inlinedResponses": {"inlinedResponses": [answered(200)]}}}
    whole = json.dumps({**OPERATION, "metadata": {"state": "BATCH_STATE_SUCCEEDED"}, **shown}).encode()
    await leave(memory, "/v1beta/batches/abc", whole)
    assert await memory.figures() == ("0.10", "0.00")


async def test_so_are_those_in_a_list(memory):
    await begin_google(memory)
    shown = {"response": {"inlinedResponses": {"inlinedResponses": [answered(200)]}}}
    operation = {**OPERATION, "metadata": {"state": "BATCH_STATE_SUCCEEDED"}, **shown}
    await leave(memory, "/v1beta/batches", json.dumps({"operations": [operation]}).encode())
    assert await memory.figures() == ("0.10", "0.00")


RESPONSE = {"id": "resp_1", "background": True, "model": "plain", "status": "queued"}
DONE = {**RESPONSE, "status": "completed", "output": [], "usage": {"input_tokens": 9, "output_tokens": 700}}


async def test_so_is_a_response_of_the_background(memory):
    body = {"model": "plain", "input": "x", "background": True, "max_output_tokens": 600}
    await call(memory.guard(ScriptedApp(*json_answer(RESPONSE))), body, path="/v1/responses", headers=bearer())
    await leave(memory, "/v1/responses/resp_1", json.dumps(DONE).encode(), media_type="application/json")
    assert await memory.figures() == ("0.70", "0.00")


async def test_a_stream_of_the_background_ends_with_its_client(memory):
    """Its provider works on, and who reads on costs a connection."""
    body = {"model": "plain", "input": "x", "background": True, "max_output_tokens": 600}
    await call(memory.guard(ScriptedApp(*json_answer(RESPONSE))), body, path="/v1/responses", headers=bearer())
    event = f"data: {json.dumps({'type': 'response.completed', 'response': DONE})}\n\n".encode()
    await leave(memory, "/v1/responses/resp_1", event, media_type="text/event-stream")
    assert await memory.figures() == ("0.00", "0.60")


@pytest.mark.parametrize(
    "begins", [start(200, content_type="text/event-stream"), start(404), start(200, content_encoding="br")]
)
async def test_what_shows_nothing_of_a_job_ends_with_its_client(memory, begins):
    """An app may have a stream without an end of its own, where others list files or batches."""
    has_ended = asyncio.Event()

    async def app(scope, receive, send):
        await send(begins)
        await send(chunk(b"data: 1\n\n"))
        while (await receive())["type"] != "http.disconnect":
            pass
        has_ended.set()

    for path in ("/jobs/files", "/v1/batches", "/v1/batches/b"):
        has_ended.clear()
        played = PlayedRequest(path=path, method="GET", headers=bearer(), leaves_after=2)
        await asyncio.wait_for(played.run(memory.guard(app)), 5)
        assert has_ended.is_set()


async def test_so_it_does_where_a_server_tells_of_it_by_an_error(memory):
    n_sent = 0

    async def app(scope, receive, send):
        nonlocal n_sent
        await send(start(200, content_type="text/event-stream"))
        while n_sent < 9:
            await send(chunk(b"data: 1\n\n"))
            n_sent += 1

    played = PlayedRequest(path="/jobs/files", method="GET", headers=bearer(), breaks_after=3)
    await played.run(memory.guard(app))
    assert (n_sent, type(played.raised)) == (2, OSError)


async def test_a_list_of_files_keeps_its_query(memory):
    """Its fields are none of a job."""
    app = ScriptedApp(*json_answer({}))
    query = {"query_string": b"fields=name&alt=csv&$req=x"}
    await call(memory.guard(app), path="/drive/files", method="GET", headers=bearer(), scope=query)
    assert app.scopes[0]["query_string"] == b"fields=name&alt=csv"


async def leave(bench, path, whole, *, media_type="application/json"):
    """A client that leaves before the last byte."""
    app = Download([whole[:-1], whole[-1:], b""], media_type=media_type)
    played = PlayedRequest(path=path, method="GET", headers=bearer(), leaves_after=2)
    await played.run(bench.guard(app))
    await bench.settle()
    assert played.raised is None


async def test_a_server_is_not_asked_to_send_results_by_itself(memory):
    await begin(memory)
    await look(memory, f"{BATCHES}/batch_1", ended())
    app = ScriptedApp(*lines(results(100, 200)))
    scope: dict[str, object] = {
        "extensions": {"http.response.pathsend": {}, "http.response.zerocopysend": {}, "other": {}}
    }
    await call(memory.guard(app), path=CONTENT, method="GET", headers=bearer(), scope=scope)
    assert app.scopes[0]["extensions"] == {"other": {}}
    assert await memory.figures() == ("0.15", "0.00")


async def test_a_file_of_results_that_the_app_has_on_disk(memory, tmp_path):
    file = tmp_path / "results.jsonl"
    file.write_bytes(results(100, 200))
    await begin(memory)
    await look(memory, f"{BATCHES}/batch_1", ended())
    scope: dict[str, object] = {"extensions": {"http.response.pathsend": {}}}
    played = await call(memory.guard(FileResponse(file)), path=CONTENT, method="GET", headers=bearer(), scope=scope)
    assert played.status == 200
    assert await memory.figures() == ("0.15", "0.00")
