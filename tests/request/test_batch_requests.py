"""Batches of OpenAI and Anthropic: held by what they plan, and booked once, at half the price, by their results."""

import asyncio
import json

import pytest

from budget_middleware.apis.jobs.batch_states import read_result
from budget_middleware.core.statuses import Op
from budget_middleware.testing import ScriptedApp, call, chunk, json_answer, start
from tests.request.turns import turns_during
from tests.request.wire import KEY, bearer
from tests.stores.verbs import whole_journal

BATCHES = "/v1/batches"
MESSAGE_BATCHES = "/v1/messages/batches"
CREATED = {"id": "batch_1", "object": "batch", "status": "validating", "input_file_id": "file-in"}
MESSAGES_CREATED = {"id": "msgbatch_1", "type": "message_batch", "processing_status": "in_progress"}
BOUNDARY = "b0undary"
UPLOAD = {"content-type": f"multipart/form-data; boundary={BOUNDARY}", **bearer()}


def planned(*maxima, model="plain"):
    """A line for each call, which asks for at most so many tokens; each costs a dollar for a thousand."""
    lines = [
        {
            "custom_id": f"c{n}",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {"model": model, "messages": [{"role": "user", "content": "secret words"}], "max_tokens": most},
        }
        for n, most in enumerate(maxima)
    ]
    return "\n".join(map(json.dumps, lines)).encode()


def form(content, purpose="batch"):
    head = f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="purpose"\r\n\r\n{purpose}\r\n'
    file = f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="file"; filename="in.jsonl"\r\n\r\n'
    return head.encode() + file.encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()


def usage(output_tokens):
    return {"prompt_tokens": 9, "completion_tokens": output_tokens, "total_tokens": 9 + output_tokens}


def results(*output_tokens):
    lines = [
        {
            "custom_id": f"c{n}",
            "response": {
                "status_code": 200,
                "body": {"object": "chat.completion", "model": "plain", "choices": [], "usage": usage(tokens)},
            },
            "error": None,
        }
        for n, tokens in enumerate(output_tokens)
    ]
    return "\n".join(map(json.dumps, lines)).encode() + b"\n"


async def upload(bench, content, *, id_="file-in", **settings):
    app = ScriptedApp(*json_answer({"id": id_, "object": "file", "purpose": "batch"}))
    body = form(content)
    played = await call(bench.guard(app, **settings), body, path="/v1/files", headers=UPLOAD)
    assert played.status == 200
    return app


async def create(bench, answer=CREATED, *, body=None, path=BATCHES, **settings):
    guard = bench.guard(ScriptedApp(*json_answer(answer)), **settings)
    body = body or {"input_file_id": "file-in", "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    return await call(guard, body, path=path, headers=bearer())


async def look(bench, path, answer, *, method="GET", token=None, **settings):
    messages = json_answer(answer) if isinstance(answer, dict) else answer
    headers = bearer(token) if token else bearer()
    played = await call(bench.guard(ScriptedApp(*messages), **settings), path=path, method=method, headers=headers)
    await bench.settle()
    return played


def lines(content, pieces=3):
    """The bytes of a file in several messages, cut anywhere."""
    size = len(content) // pieces + 1
    parts = [content[at : at + size] for at in range(0, len(content), size)]
    return [start(200, content_type="application/jsonl")] + [
        chunk(part, is_last=at == len(parts) - 1) for at, part in enumerate(parts)
    ]


def ended(status="completed", **fields):
    counts = {"total": 2, "completed": 2, "failed": 0}
    return {**CREATED, "status": status, "request_counts": counts, "output_file_id": "file-out", **fields}


async def test_a_batch_is_held_at_half_of_what_its_file_plans(bench):
    await upload(bench, planned(600, 200))
    played = await create(bench)
    assert played.status == 200
    assert await bench.figures() == ("0.00", "0.40")
    (held,) = await bench.reader.holds()
    assert held.deadline_ms - held.created_ms == 172_800_000


PICTURE = {"model": "plain", "prompt": "x", "quality": "low"}
PAINTED = {"custom_id": "c", "method": "POST", "url": "/v1/images/generations", "body": PICTURE}


async def test_a_batch_of_images_is_held_and_booked_as_images_are(bench):
    """Their lines name no model, and would be booked at the operator's estimate."""
    await upload(bench, json.dumps(PAINTED).encode())
    await create(bench, job_estimate_usd="0.01")
    # 408 tokens at half the price.
    assert await bench.figures() == ("0.00", "0.204")
    await look(bench, f"{BATCHES}/batch_1", ended())
    body = {"created": 1, "data": [{"b64_json": "x"}], "usage": {"input_tokens": 9, "output_tokens": 500}}
    line = json.dumps({"custom_id": "c", "response": {"status_code": 200, "body": body}, "error": None})
    await look(bench, "/v1/files/file-out/content", lines(line.encode()))
    assert await bench.figures() == ("0.25", "0.00")
    seen = read_result("openai-batches", line.encode())
    assert seen is not None
    assert seen.usage is not None
    assert seen.usage.output_image_tokens == 500


async def test_a_batch_of_videos_is_booked_at_the_operators_estimate(bench):
    line = {"custom_id": "c", "method": "POST", "url": "/v1/videos", "body": {"model": "plain", "prompt": "x"}}
    await upload(bench, json.dumps(line).encode())
    await create(bench, job_estimate_usd="0.25")
    await look(bench, f"{BATCHES}/batch_1", ended())
    made = {"custom_id": "c", "response": {"status_code": 200, "body": {"id": "v", "object": "video", "seconds": "8"}}}
    await look(bench, "/v1/files/file-out/content", lines(json.dumps(made).encode()))
    assert await bench.figures() == ("0.25", "0.00")


@pytest.mark.parametrize("name", ["INPUT_FILE_ID", "Input_Blob"])
async def test_a_batch_in_capitals_is_one(memory, name):
    """Some servers do not tell letters apart."""
    await create(memory, body={name: "file-in"}, job_estimate_usd="0.25")
    assert await memory.figures() == ("0.00", "0.25")


LONG = "x" * 1_000


async def test_ids_that_a_gateway_has_made_long(bench):
    """They have others' ids in them: as of files that LiteLLM manages."""
    await upload(bench, planned(600, 200), id_=f"in{LONG}")
    made = {**CREATED, "id": f"batch{LONG}"}
    await create(bench, made, body={"input_file_id": f"in{LONG}"})
    assert await bench.figures() == ("0.00", "0.40")
    await look(bench, f"{BATCHES}/batch{LONG}", ended(id=f"batch{LONG}", output_file_id=f"out{LONG}"))
    await look(bench, f"/v1/files/out{LONG}/content", lines(results(100, 200)))
    assert await bench.figures() == ("0.15", "0.00")


@pytest.mark.parametrize(("size", "reserved"), [(1, "0.40"), (2, "0.40"), (3, "0.25"), (None, "0.40"), ("9", "0.40")])
async def test_of_a_file_that_has_grown_nothing_is_known(memory, size, reserved):
    """The app has taken another part of the form for its file, where parsers differ. Some write in other models."""
    content = planned(600, 200)
    answer = {"id": "file-in", "bytes": size * len(content) if isinstance(size, int) else size}
    app = ScriptedApp(*json_answer(answer))
    await call(memory.guard(app), form(content), path="/v1/files", headers=UPLOAD)
    await create(memory, job_estimate_usd="0.25")
    assert await memory.figures() == ("0.00", reserved)


async def test_of_a_batch_that_names_two_files_nothing_is_known(memory):
    await upload(memory, planned(1))
    await create(memory, body={"input_file_id": "file-in", "input_blob": "https://x/y"}, job_estimate_usd="0.25")
    assert await memory.figures() == ("0.00", "0.25")


@pytest.mark.parametrize("place", ["vector_stores/vs_1", "containers/c_1", "Vector_Stores/vs_1"])
async def test_results_within_something_else_are_none(memory, place):
    """A vector store shows the text of a file in pieces: what the batch has cost is still to come."""
    await upload(memory, planned(600, 200))
    await create(memory)
    await look(memory, f"{BATCHES}/batch_1", ended())
    await look(memory, f"/v1/{place}/files/file-out/content", {"data": [{"type": "text", "text": "x"}]})
    assert await memory.figures() == ("0.00", "0.40")
    await look(memory, "/v1/files/file-out/content", lines(results(700, 900)))
    assert await memory.figures() == ("0.80", "0.00")


async def test_a_batch_whose_calls_lie_in_the_providers_storage_is_held_at_the_operators_estimate(bench):
    body = {"input_blob": "https://x/in.jsonl", "endpoint": "/chat/completions", "completion_window": "24h"}
    await create(bench, body=body, path="/openai/batches", job_estimate_usd="0.25")
    assert await bench.figures() == ("0.00", "0.25")


async def test_a_file_passes_through_as_it_came_and_no_word_of_it_stands_in_the_store(memory):
    app = await upload(memory, planned(600, 200))
    assert app.bodies == [form(planned(600, 200))]
    kept = str(vars(memory.reader))
    assert '"sums"' in kept
    assert "secret words" not in kept


async def test_a_batch_beyond_the_budget_is_refused(bench):
    await upload(bench, planned(*[600] * 4))
    played = await create(bench)
    assert played.status == 429
    assert await bench.figures() == ("0.00", "0.00")


async def test_a_batch_of_which_nothing_is_known_is_held_at_the_operators_estimate(bench):
    await create(bench, job_estimate_usd="0.25")
    assert await bench.figures() == ("0.00", "0.25")


async def test_what_cannot_be_read_of_a_file_counts_as_the_rest(bench):
    await upload(bench, planned(600) + b"\n{not json\n" + planned(200) + b"\n" + json.dumps({"body": 7}).encode())
    await create(bench, job_estimate_usd="0.1")
    assert await bench.figures() == ("0.00", "0.80")


HIDDEN = {"no JSON": b"{not json", "behind spaces": b'{"body":' + b" " * 300_000 + planned(900_000)[1:]}


@pytest.mark.parametrize("how", HIDDEN)
async def test_a_batch_with_a_call_that_cannot_be_read_is_held_at_the_operators_estimate_at_least(memory, how):
    # Who hides a call, as behind spaces, chooses which: the dear one.
    await upload(memory, b"\n".join([planned(1, 1, 1), HIDDEN[how]]), max_body_bytes="100000")
    await create(memory, job_estimate_usd="0.3")
    assert await memory.figures() == ("0.00", "0.30")


async def test_a_line_that_is_too_long_counts_once_however_it_comes(memory):
    await upload(memory, planned(600) + b'\n{"body":"' + b"x" * 300_000 + b'"}\n', max_body_bytes="100000")
    await create(memory, job_estimate_usd="0.1")
    assert await memory.figures() == ("0.00", "0.60")


async def test_a_model_without_a_price_is_refused_where_money_is_limited(bench):
    await upload(bench, planned(600, model="nobody-knows-it"))
    assert (await create(bench)).status == 400
    assert await bench.figures() == ("0.00", "0.00")


async def test_the_usage_of_a_batch_object_is_booked_once(bench):
    await upload(bench, planned(600, 200))
    await create(bench)
    await look(bench, f"{BATCHES}/batch_1", {**CREATED, "status": "in_progress"})
    assert await bench.figures() == ("0.00", "0.40")
    done = ended(model="plain", usage={"input_tokens": 18, "output_tokens": 300, "total_tokens": 318})
    guards = [bench.guard(ScriptedApp(*json_answer(done))) for _ in range(3)]
    await asyncio.gather(*(call(each, path=f"{BATCHES}/batch_1", method="GET", headers=bearer()) for each in guards))
    assert await bench.figures() == ("0.15", "0.00")
    await look(bench, f"{BATCHES}/batch_1", done)
    await look(bench, "/v1/files/file-out/content", lines(results(100, 200)))
    assert await bench.figures() == ("0.15", "0.00")
    (booked,) = [entry for entry in await whole_journal(bench.reader) if entry.op is Op.FINALIZE]
    assert booked.reason == "usage, job batch_1"
    assert '"output",300,500000000000' in booked.bill


async def test_the_output_file_of_one_that_names_no_usage_is_booked_once(bench):
    await upload(bench, planned(600, 200))
    await create(bench)
    await look(bench, f"{BATCHES}/batch_1", ended())
    assert await bench.figures() == ("0.00", "0.40")
    for _ in range(2):
        played = await look(bench, "/v1/files/file-out/content", lines(results(100, 200)), token="sk-stranger")
        assert played.body == results(100, 200)
        assert await bench.figures() == ("0.15", "0.00")
    assert await bench.accounts() == {KEY}


async def test_an_answer_that_refuses_a_stranger_books_nothing(bench):
    await upload(bench, planned(600, 200))
    await create(bench)
    done = ended(model="plain", usage={"input_tokens": 18, "output_tokens": 300, "total_tokens": 318})
    await look(bench, f"{BATCHES}/batch_1", json_answer(done, status=403), token="sk-stranger")
    assert await bench.figures() == ("0.00", "0.40")


async def test_results_that_break_off_book_nothing_yet(bench):
    await upload(bench, planned(600, 200))
    await create(bench)
    await look(bench, f"{BATCHES}/batch_1", ended())
    await look(bench, "/v1/files/file-out/content", lines(results(100, 200))[:-1])
    assert await bench.figures() == ("0.00", "0.40")


async def test_a_call_that_shows_no_usage_is_not_free(bench):
    await upload(bench, planned(600, 200))
    await create(bench)
    await look(bench, f"{BATCHES}/batch_1", ended())
    odd = json.dumps({"custom_id": "c", "response": {"status_code": 200, "body": {"object": "chat.completion"}}})
    await look(bench, "/v1/files/file-out/content", lines(results(100) + odd.encode()))
    assert await bench.figures() == ("0.40", "0.00")


async def test_a_batch_that_cost_more_than_is_held_is_booked_whole(bench):
    await upload(bench, planned(10))
    await create(bench)
    done = ended(model="plain", usage={"input_tokens": 9, "output_tokens": 5_000, "total_tokens": 5_009})
    await look(bench, f"{BATCHES}/batch_1", done)
    assert await bench.figures() == ("2.50", "0.00")


@pytest.mark.parametrize("status", ["failed", "expired", "cancelled"])
async def test_one_of_which_nothing_was_answered_costs_nothing(bench, status):
    await upload(bench, planned(600))
    await create(bench)
    counts = {"total": 1, "completed": 0, "failed": 0}
    await look(bench, f"{BATCHES}/batch_1", {**CREATED, "status": status, "request_counts": counts})
    assert await bench.figures() == ("0.00", "0.00")


async def test_a_cancellation_that_shows_the_usage_books_it(bench):
    await upload(bench, planned(600))
    await create(bench)
    done = ended("cancelled", model="plain", usage={"input_tokens": 9, "output_tokens": 100, "total_tokens": 109})
    await look(bench, f"{BATCHES}/batch_1/cancel", done, method="POST")
    assert await bench.figures() == ("0.05", "0.00")


async def test_one_that_nobody_asks_for_is_booked_at_its_deadline(bench):
    await upload(bench, planned(600))
    await create(bench)
    bench.clock.advance(s=172_800)
    await bench.guard(ScriptedApp()).ledger.sweep()
    assert await bench.figures() == ("0.30", "0.00")


async def test_a_creation_that_fails_costs_nothing(bench):
    await upload(bench, planned(600))
    guard = bench.guard(ScriptedApp(*json_answer({"error": {}}, status=400)))
    await call(guard, {"input_file_id": "file-in"}, path=BATCHES, headers=bearer())
    assert await bench.figures() == ("0.00", "0.00")


async def test_an_answer_without_an_id_books_the_estimate(bench):
    await upload(bench, planned(600))
    await create(bench, {"object": "batch"})
    assert await bench.figures() == ("0.30", "0.00")


@pytest.mark.parametrize("path", [BATCHES, "/shop/batches", MESSAGE_BATCHES])
async def test_batches_of_others_are_none_of_ours(memory, path):
    played = await create(memory, {"id": "b1"}, body={"ingredients": ["flour"]}, path=path)
    assert played.status == 200
    assert await memory.figures() == ("0.00", "0.00")
    assert await memory.reader.holds() == []


@pytest.mark.parametrize("content", [b"\x89PNG" + bytes(50_000), b'{"messages": []}\n' * 3, b"", b"  \n"])
async def test_a_file_of_something_else_plans_nothing(memory, content):
    await upload(memory, content)
    assert "sums" not in str(vars(memory.reader))


@pytest.mark.parametrize("size", [1, 7, 100_000])
async def test_a_file_is_counted_however_it_is_cut(memory, size):
    body = form(planned(600, 200))
    app = ScriptedApp(*json_answer({"id": "file-in"}))
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    await call(memory.guard(app), pieces, path="/v1/files", headers=UPLOAD)
    await create(memory)
    assert await memory.figures() == ("0.00", "0.40")


async def test_others_run_while_a_file_of_many_lines_is_read(memory):
    turns = await turns_during(upload(memory, planned(200) + b"\n1234567890123" * 9_000))
    assert turns > 20
    await create(memory, limits="key=10000/month")
    assert await memory.figures() == ("0.00", "900.10")


async def test_of_a_file_with_too_many_odd_lines_nothing_is_known(memory):
    """Each takes a moment, and no batch has them."""
    await upload(memory, planned(200) + b"\n1" * 20_000)
    await create(memory, job_estimate_usd="0.25")
    assert await memory.figures() == ("0.00", "0.25")


async def test_a_line_of_very_many_values_counts_as_the_others(memory):
    dear = planned(500).replace(b'"secret words"', b"[" + b"{}," * 100_000 + b"{}]")
    await upload(memory, planned(200) + b"\n" + dear)
    await create(memory, job_estimate_usd="0.1")
    assert await memory.figures() == ("0.00", "0.20")


# Anthropic's.


def message_batch(*maxima):
    params = [{"model": "plain", "max_tokens": most, "messages": [{"role": "user", "content": "x"}]} for most in maxima]
    return {"requests": [{"custom_id": f"c{n}", "params": each} for n, each in enumerate(params)]}


def message_results(*output_tokens):
    message = {"type": "message", "model": "plain", "stop_reason": "end_turn", "content": []}
    made = [
        {"type": "succeeded", "message": {**message, "usage": {"input_tokens": 9, "output_tokens": tokens}}}
        for tokens in output_tokens
    ]
    failed = {"type": "errored", "error": {"type": "error", "error": {"type": "invalid_request"}}}
    return "\n".join(json.dumps({"custom_id": "c", "result": each}) for each in [*made, failed]).encode() + b"\n"


async def test_a_message_batch_is_held_by_its_requests_and_booked_by_its_results(bench):
    await create(bench, MESSAGES_CREATED, body=message_batch(600, 200), path=MESSAGE_BATCHES)
    assert await bench.figures() == ("0.00", "0.40")
    over = {**MESSAGES_CREATED, "processing_status": "ended", "request_counts": {"succeeded": 2, "errored": 1}}
    await look(bench, f"{MESSAGE_BATCHES}/msgbatch_1", over)
    assert await bench.figures() == ("0.00", "0.40")
    for _ in range(2):
        await look(bench, f"{MESSAGE_BATCHES}/msgbatch_1/results", lines(message_results(100, 200)))
        assert await bench.figures() == ("0.15", "0.00")


async def test_a_message_batch_that_was_canceled_before_it_began_costs_nothing(bench):
    await create(bench, MESSAGES_CREATED, body=message_batch(600), path=MESSAGE_BATCHES)
    over = {**MESSAGES_CREATED, "processing_status": "ended", "request_counts": {"succeeded": 0, "canceled": 1}}
    await look(bench, f"{MESSAGE_BATCHES}/msgbatch_1", over)
    assert await bench.figures() == ("0.00", "0.00")


async def test_a_message_batch_that_still_runs_is_held_on(bench):
    await create(bench, MESSAGES_CREATED, body=message_batch(600), path=MESSAGE_BATCHES)
    await look(bench, f"{MESSAGE_BATCHES}/msgbatch_1", {**MESSAGES_CREATED, "request_counts": {"succeeded": 0}})
    assert await bench.figures() == ("0.00", "0.30")


async def test_a_batch_is_not_in_flight(memory):
    limits = {"limits": "key=1inflight"}
    await upload(memory, planned(600), **limits)
    assert {(await create(memory, {**CREATED, "id": f"batch_{n}"}, **limits)).status for n in range(3)} == {200}


async def test_a_refused_message_batch_looks_as_anthropics_errors_do(bench):
    played = await create(bench, MESSAGES_CREATED, body=message_batch(*[600] * 4), path=MESSAGE_BATCHES)
    assert played.status == 429
    assert played.json()["type"] == "error"


# Gemini's.

GEMINI_PATH = "/v1beta/models/plain:batchGenerateContent"
OPERATION = {"name": "batches/abc", "metadata": {"state": "BATCH_STATE_PENDING"}}


def gemini_batch(*maxima):
    made = [
        {"request": {"contents": [{"parts": [{"text": "x"}]}], "generationConfig": {"maxOutputTokens": most}}}
        for most in maxima
    ]
    return {"batch": {"displayName": "b", "inputConfig": {"requests": {"requests": made}}}}


def gemini_ended(*output_tokens, state="BATCH_STATE_SUCCEEDED"):
    answers = [
        {"response": {"candidates": [], "modelVersion": "plain", "usageMetadata": gemini_usage(tokens)}}
        for tokens in output_tokens
    ]
    output = {"inlinedResponses": {"inlinedResponses": [*answers, {"error": {"code": 3}}]}}
    return {**OPERATION, "metadata": {"state": state, "output": output}, "done": True, "response": output}


def gemini_usage(tokens):
    return {"promptTokenCount": 9, "candidatesTokenCount": tokens, "totalTokenCount": 9 + tokens}


async def test_a_batch_of_gemini_is_held_by_its_requests_and_booked_by_its_answers(bench):
    await create(bench, OPERATION, body=gemini_batch(600, 200), path=GEMINI_PATH)
    assert await bench.figures() == ("0.00", "0.40")
    await look(bench, "/v1beta/batches/abc", {**OPERATION, "metadata": {"state": "BATCH_STATE_RUNNING"}})
    assert await bench.figures() == ("0.00", "0.40")
    for _ in range(2):
        await look(bench, "/v1beta/batches/abc", gemini_ended(100, 200))
        assert await bench.figures() == ("0.15", "0.00")


async def test_a_batch_of_gemini_of_which_nothing_was_answered_costs_nothing(bench):
    await create(bench, OPERATION, body=gemini_batch(600), path=GEMINI_PATH)
    await look(bench, "/v1beta/batches/abc", gemini_ended(state="BATCH_STATE_CANCELLED"))
    assert await bench.figures() == ("0.00", "0.00")


async def test_a_batch_of_gemini_whose_answers_are_in_a_file_is_held_on(bench):
    body = {"batch": {"inputConfig": {"fileName": "files/in"}}}
    await create(bench, OPERATION, body=body, path=GEMINI_PATH, job_estimate_usd="0.25")
    output = {"responsesFile": "files/out"}
    over = {**OPERATION, "metadata": {"state": "BATCH_STATE_SUCCEEDED"}, "response": output}
    await look(bench, "/v1beta/batches/abc", over)
    assert await bench.figures() == ("0.00", "0.25")


@pytest.mark.parametrize(
    "shown",
    [
        # Google's servers leave out of an answer whatever `fields` does not name.
        {},
        {"output": {}},
        {"output": {"inlinedResponses": {}}},
    ],
)
async def test_a_batch_of_gemini_that_has_succeeded_and_shows_no_answer_is_held_on(bench, shown):
    await create(bench, OPERATION, body=gemini_batch(600), path=GEMINI_PATH)
    over = {"name": "batches/abc", "metadata": {"state": "BATCH_STATE_SUCCEEDED", **shown}, "done": True}
    await look(bench, "/v1beta/batches/abc", over)
    assert await bench.figures() == ("0.00", "0.30")


async def test_what_shows_no_usage_is_free_in_no_unit(bench):
    """Neither tokens: where the dollars are those of the estimate, so are they."""
    limits = {"limits": "key=9/month; key=9000tokens/month; key=9requests/month"}
    await upload(bench, planned(600, 200), **limits)
    await create(bench, **limits)
    held = {view.counter.unit: view.balance.reserved for view in await bench.reader.counters()}
    await look(bench, f"{BATCHES}/batch_1", ended(), **limits)
    odd = json.dumps({"custom_id": "c", "response": {"status_code": 200, "body": {"object": "chat.completion"}}})
    await look(bench, "/v1/files/file-out/content", lines(results(100) + odd.encode()), **limits)
    assert {view.counter.unit: view.balance.spent for view in await bench.reader.counters()} == held
    assert held["tokens"] > 800
