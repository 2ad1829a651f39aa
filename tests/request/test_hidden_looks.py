"""Looks at a job that would have its result and not be seen: spelled, cut, packed or left in another way."""

import asyncio
import gzip
import json

import pytest
from starlette.responses import StreamingResponse

from budget_middleware.testing import PlayedRequest, ScriptedApp, call, chunk, json_answer, start
from tests.request.test_batch_requests import BATCHES, UPLOAD, create, ended, form, lines, results, upload
from tests.request.test_batch_requests import planned as calls
from tests.request.turns import turns_during
from tests.request.wire import ask, bearer, completion

CONTENT = "/v1/files/file-out/content"
RESPONSE = {"id": "resp_1", "object": "response", "background": True, "model": "plain", "status": "queued"}
DONE = {**RESPONSE, "status": "completed", "output": [], "usage": {"input_tokens": 9, "output_tokens": 100}}
BATCH_DONE = ended(model="plain", usage={"input_tokens": 18, "output_tokens": 300})


async def look(bench, path, answer, *, method="GET", raw_path=None, headers=None, **settings):
    app = ScriptedApp(*answer)
    scope = {"raw_path": (raw_path or path).encode()}
    await call(
        bench.guard(app, **settings), path=path, method=method, headers={**bearer(), **(headers or {})}, scope=scope
    )
    await bench.settle()
    return app.scopes[0]


async def begin_response(bench):
    body = {"model": "plain", "input": "x", "background": True, "max_output_tokens": 600}
    await call(bench.guard(ScriptedApp(*json_answer(RESPONSE))), body, path="/v1/responses", headers=bearer())
    assert await bench.figures() == ("0.00", "0.60")


async def end_batch(bench):
    """A batch of two calls, whose output file is known."""
    await upload(bench, calls(600, 200))
    await create(bench)
    await look(bench, f"{BATCHES}/batch_1", json_answer(ended()))
    assert await bench.figures() == ("0.00", "0.40")


@pytest.mark.parametrize(
    "path",
    [
        *("/v1/responses//resp_1", "/v1//responses/./resp_1", "/v1/responses/x/../resp_1", "/v1/Responses/resp_1"),
        *("/v1/responses/resp_1;a=b", "/v1/responses/resp_1?a=b", "/v1/responses/resp%5F1"),
    ],
)
async def test_a_background_response_is_seen_however_its_path_is_spelled(memory, path):
    await begin_response(memory)
    await look(memory, path, json_answer(DONE))
    assert await memory.figures() == ("0.10", "0.00")


@pytest.mark.parametrize(
    "path",
    [
        "/v1//batches//batch_1",
        "/v1/batches/./batch_1",
        "/v1/batches/batch_1 ",
        "/v1/batches/batch_1?x",
        "/v1/batches/batch_1;x",
    ],
)
async def test_a_batch_is_seen_however_its_path_is_spelled(memory, path):
    await upload(memory, calls(600, 200))
    await create(memory)
    await look(memory, path, json_answer(BATCH_DONE))
    assert await memory.figures() == ("0.15", "0.00")


@pytest.mark.parametrize("spelling", ["?/../../x", "#/../../../x", ";/../../x", "?/../../embeddings", "?/../resp_2"])
async def test_a_look_behind_another_path_is_seen(memory, spelling):
    """To an app that cuts the path there it is the look; one that takes steps back sees something else."""
    await begin_response(memory)
    await look(memory, f"/v1/responses/resp_1{spelling}", json_answer(DONE), mode="shadow")
    assert await memory.figures() == ("0.10", "0.00")


@pytest.mark.parametrize(
    "path",
    [
        f"{CONTENT}?/../../../batches/batch_2",
        "/v1/files/file-in/content?/../../file-out/content",
        f"{CONTENT}?/../../../responses/resp_1",
        f"{CONTENT}?{'a' * 9_000}",
        f"{CONTENT}{'%253F' * 4_000}",
    ],
    ids=["a batch", "another file", "a response", "too long", "encoded too often"],
)
async def test_a_path_that_may_be_looks_at_two_jobs_is_refused(memory, path):
    await end_batch(memory)
    app = ScriptedApp(*lines(results(100, 200)))
    played = await call(memory.guard(app), path=path, method="GET", headers=bearer())
    assert (played.status, played.json()["error"]["code"]) == (400, "budget_bad_request")
    assert app.scopes == []
    assert await memory.figures() == ("0.00", "0.40")
    played = await call(memory.guard(app, mode="shadow"), path=path, method="GET", headers=bearer())
    assert played.status == 200


@pytest.mark.parametrize("seen_as", ["responses/resp_1", "batches/batch_1", "batches", "videos/video_1", "files"])
async def test_a_path_that_may_be_a_look_or_something_else_is_refused(memory, seen_as):
    """Such as a file that its client has written, and that reads like the end of a job which cost nothing."""
    await begin_response(memory)
    path = f"/v1/containers/c/files/f/content?/../../{seen_as}"
    app = ScriptedApp(*json_answer({**DONE, "usage": {"input_tokens": 1, "output_tokens": 1}}))
    played = await call(memory.guard(app), path=path, method="GET", headers=bearer())
    await memory.settle()
    assert (played.status, app.scopes) == (400, [])
    assert await memory.figures() == ("0.00", "0.60")


@pytest.mark.parametrize("path", ["/static/a b?c#d/x", "/proxy/https://there/x;y", "/v1/files/a?/../b"])
async def test_an_odd_path_that_is_no_look_in_any_reading_passes(memory, path):
    app = ScriptedApp(*json_answer({}))
    assert (await call(memory.guard(app), path=path, method="GET", headers=bearer())).status == 200
    assert app.scopes[0]["path"] == path


@pytest.mark.parametrize("content", [b"{}\n", results(1), b'{"object": "model"}', b"<html>"])
async def test_what_may_be_no_results_at_all_costs_the_estimate(memory, content):
    """The app may have read the path as that of something else, which the client has chosen."""
    await end_batch(memory)
    await look(memory, f"{CONTENT}?/../../../x", lines(content, pieces=1), mode="shadow")
    assert await memory.figures() == ("0.40", "0.00")


@pytest.mark.parametrize("root_path", ["", "/api"])
@pytest.mark.parametrize("path", [f"/{CONTENT}", CONTENT.replace("/", "//"), f"{CONTENT}/"])
async def test_results_behind_doubled_slashes_cost_what_they_show(memory, path, root_path):
    """As of clients whose base address ends in one: nothing else is answered there."""
    await end_batch(memory)
    guard = memory.guard(ScriptedApp(*lines(results(100, 200))))
    await call(guard, path=path, method="GET", headers=bearer(), scope={"root_path": root_path})
    await memory.settle()
    assert await memory.figures() == ("0.15", "0.00")


async def test_what_may_be_another_completion_costs_the_estimate(memory):
    created = ScriptedApp(*json_answer({"request_id": "d1"}))
    body = {**ask(600), "model": "plain", "deferred": True}
    await call(memory.guard(created), body, path="/v1/chat/completions", headers=bearer())
    assert await memory.figures() == ("0.00", "0.60")
    answer = completion(1)
    await look(memory, "/v1/chat/deferred-completion/d1?/../../../x", answer, mode="shadow")
    assert await memory.figures() == ("0.60", "0.00")


async def test_so_it_does_in_tokens(bench):
    limits = {"limits": "key=9/month; key=9000tokens/month"}
    created = ScriptedApp(*json_answer({"request_id": "d1"}))
    body = {**ask(600), "model": "plain", "deferred": True}
    await call(bench.guard(created, **limits), body, path="/v1/chat/completions", headers=bearer())
    held = [view.balance.reserved for view in await bench.reader.counters()]
    await look(bench, "/v1/chat/deferred-completion/d1?/../../../x", completion(1), mode="shadow")
    assert [view.balance.spent for view in await bench.reader.counters()] == held


@pytest.mark.parametrize("content", [b"", b"\n\n"])
async def test_results_without_a_line_are_none(memory, content):
    await end_batch(memory)
    await look(memory, CONTENT, [start(200), chunk(content, is_last=True)])
    assert await memory.figures() == ("0.00", "0.40")


@pytest.mark.parametrize("line", [b'{"object": "model"}', b'{"custom_id": "c", "response": null, "error": null}'])
async def test_lines_that_are_no_results_are_not_free(memory, line):
    await end_batch(memory)
    await look(memory, CONTENT, lines(line, pieces=1))
    assert await memory.figures() == ("0.40", "0.00")


async def test_an_answer_of_too_many_values_is_not_read(memory):
    """To make objects of them stops a worker; the deadline books what nobody reads."""
    await upload(memory, calls(600, 200))
    await create(memory)
    await look(memory, f"{BATCHES}/batch_1", json_answer({**BATCH_DONE, "errors": [{}] * 70_000}))
    await look(memory, BATCHES, json_answer({"data": [{**BATCH_DONE, "errors": [{}] * 70_000}]}))
    assert await memory.figures() == ("0.00", "0.40")


async def test_calls_that_were_not_answered_are_free(memory):
    await end_batch(memory)
    refused = {"custom_id": "c", "response": {"status_code": 400, "body": {"error": {}}}, "error": None}
    expired = {"custom_id": "d", "response": None, "error": {"code": "batch_expired"}}
    await look(memory, CONTENT, lines("\n".join(map(json.dumps, (refused, expired))).encode()))
    assert await memory.figures() == ("0.00", "0.00")


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "HEAD"])
async def test_any_method_that_is_meant_as_a_get_is_seen(memory, method):
    await begin_response(memory)
    asked = {"x-http-method-override": "GET"}
    await look(memory, "/v1/responses/resp_1", json_answer(DONE), method=method, headers=asked)
    assert await memory.figures() == ("0.10", "0.00")


async def test_a_method_in_small_letters_is_seen(memory):
    """As h11 passes it on; clients behind an app write it in capitals again."""
    await begin_response(memory)
    await look(memory, "/v1/responses/resp_1", json_answer(DONE), method="get")
    assert await memory.figures() == ("0.10", "0.00")


async def test_an_upload_that_may_be_a_look_is_refused(memory):
    """What it is, a header says that not every app reads."""
    app = ScriptedApp(*json_answer({"id": "file-in"}))
    asked = {**UPLOAD, "x-http-method-override": "GET"}
    played = await call(memory.guard(app), form(calls(600)), path="/v1/files", headers=asked)
    assert (played.status, app.scopes) == (400, [])


@pytest.mark.parametrize(
    "header", ["x-http-method-override", "x-http-method", "x-method-override", "X_HTTP_Method_Override"]
)
async def test_a_post_that_is_meant_as_a_get_is_seen(memory, header):
    await upload(memory, calls(600, 200))
    await create(memory)
    await look(memory, f"{BATCHES}/batch_1", json_answer(BATCH_DONE), method="POST", headers={header: "get"})
    assert await memory.figures() == ("0.15", "0.00")


async def test_an_odd_path_of_a_webhook_is_none(memory):
    app = ScriptedApp(*json_answer({}))
    guard = memory.guard(app, webhooks="/hooks/openai=whsec_a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=")
    assert (await call(guard, b"{}", path="//hooks/openai")).status == 200


async def test_results_are_asked_for_whole(memory):
    """Who could take them in parts would be booked for none."""
    await end_batch(memory)
    asked = {"range": "bytes=0-", "if-range": "x", "accept-encoding": "br", "x-other": "1"}
    scope = await look(memory, CONTENT, lines(results(100, 200)), headers=asked)
    assert {name for name, _ in scope["headers"]} == {b"authorization", b"x-other", b"content-length"}
    assert await memory.figures() == ("0.15", "0.00")


async def test_a_background_response_is_asked_for_uncompressed(memory):
    await begin_response(memory)
    scope = await look(memory, "/v1/responses/resp_1", json_answer(DONE), headers={"accept-encoding": "br, gzip"})
    assert b"accept-encoding" not in dict(scope["headers"])
    assert await memory.figures() == ("0.10", "0.00")


async def test_results_that_come_compressed_all_the_same_are_read(memory):
    await end_batch(memory)
    packed = gzip.compress(results(100, 200))
    begin = start(200, content_type="application/jsonl", content_encoding="gzip")
    await look(memory, CONTENT, [begin, chunk(packed[:50]), chunk(packed[50:], is_last=True)])
    assert await memory.figures() == ("0.15", "0.00")


@pytest.mark.parametrize("encoding", ["br", "gzip"])
async def test_results_that_cannot_be_unpacked_are_held_on(memory, encoding):
    await end_batch(memory)
    begin = start(200, content_type="application/jsonl", content_encoding=encoding)
    await look(memory, CONTENT, [begin, chunk(b"\x1f\x8b rubbish", is_last=True)])
    assert await memory.figures() == ("0.00", "0.40")


class Download:
    """An app that streams results, as Starlette does: it ends when it hears that the client has gone."""

    def __init__(self, pieces, media_type=None):
        self._pieces = pieces
        self._media_type = media_type

    async def __call__(self, scope, receive, send):
        await StreamingResponse(self._send(), media_type=self._media_type)(scope, receive, send)

    async def _send(self):
        for piece in self._pieces:
            yield piece
            for _ in range(20):
                await asyncio.sleep(0)


@pytest.mark.parametrize("leaving", [{"leaves_after": 2}, {"breaks_after": 2}], ids=["heard", "by an error"])
async def test_who_leaves_before_the_last_line_is_booked(memory, leaving):
    await end_batch(memory)
    app = Download([results(100, 200, 50)[:-60], results(50)[-60:], b""])
    played = PlayedRequest(path=CONTENT, method="GET", headers=bearer(), **leaving)
    await played.run(memory.guard(app))
    assert played.raised is None
    assert await memory.figures() == ("0.175", "0.00")


async def test_a_part_of_a_video_says_that_it_is_made(memory):
    """Whatever of it the client takes; that there is none says nothing."""
    created = ScriptedApp(*json_answer({"id": "v1", "status": "queued"}))
    body = {"model": "any", "prompt": "x"}
    await call(memory.guard(created, job_estimate_usd="0.25"), body, path="/v1/videos", headers=bearer())
    await look(memory, "/v1/videos/v1/content", json_answer({"error": {}}, status=404))
    assert await memory.figures() == ("0.00", "0.25")
    begin = start(206, content_type="video/mp4")
    await look(memory, "/v1/videos/v1/content", [begin, chunk(b"...")], headers={"range": "bytes=0-3"})
    assert await memory.figures() == ("0.25", "0.00")


async def test_others_run_while_many_results_pass(memory):
    await end_batch(memory)
    app = ScriptedApp(start(200), chunk(results(*[1] * 2_000), is_last=True))
    turns = await turns_during(call(memory.guard(app), path=CONTENT, method="GET", headers=bearer()))
    assert turns > 50
    assert await memory.figures() == ("1.00", "0.00")


async def test_others_run_while_many_inlined_answers_are_read(memory):
    operation = {"name": "batches/abc", "metadata": {"state": "BATCH_STATE_SUCCEEDED"}}
    body: dict[str, object] = {"batch": {"inputConfig": {}}}
    path = "/v1beta/models/plain:batchGenerateContent"
    await call(memory.guard(ScriptedApp(*json_answer(operation))), body, path=path, headers=bearer())
    usage = {"promptTokenCount": 9, "candidatesTokenCount": 1, "totalTokenCount": 10}
    answers = [{"response": {"modelVersion": "plain", "usageMetadata": usage}}] * 1_000
    done = {**operation, "response": {"inlinedResponses": {"inlinedResponses": answers}}}
    app = ScriptedApp(*json_answer(done))
    turns = await turns_during(call(memory.guard(app), path="/v1beta/batches/abc", method="GET", headers=bearer()))
    assert turns > 60
    assert await memory.figures() == ("0.50", "0.00")
