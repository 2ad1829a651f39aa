"""Batches of Gemini by files: held by what the uploaded file plans, booked by the file of their answers."""

import json

import pytest

from budget_middleware.testing import ScriptedApp, call, chunk, json_answer, start
from tests.request.wire import bearer

UPLOAD = "/upload/v1beta/files"
CREATE = "/v1beta/models/plain:batchGenerateContent"
BATCH = "/v1beta/batches/b1"
RESULTS = "/download/v1beta/files/batch-b1:download"


def planned(*maxima):
    """A line for each call, which asks for at most so many tokens; each costs a dollar for a thousand."""
    lines = [
        {
            "key": f"k{n}",
            "request": {
                "contents": [{"role": "user", "parts": [{"text": "secret words"}]}],
                **({"generationConfig": {"maxOutputTokens": most}} if most else {}),
            },
        }
        for n, most in enumerate(maxima)
    ]
    return "\n".join(map(json.dumps, lines)).encode()


async def post_piece(bench, piece, *, offset, is_last, upload="u1", app=None):
    command = "upload, finalize" if is_last else "upload"
    headers = {**bearer(), "x-goog-upload-command": command, "x-goog-upload-offset": str(offset)}
    app = app or ScriptedApp(*json_answer({"file": {"name": "files/f1"}} if is_last else {}))
    query = f"upload_id={upload}&upload_protocol=resumable".encode()
    played = await call(bench.guard(app), piece, path=UPLOAD, headers=headers, scope={"query_string": query})
    assert (played.status, app.bodies) == (200, [piece])


async def upload(bench, content, *, ends=()):
    """In pieces that end there, each through another worker."""
    at = 0
    for end in (*ends, len(content)):
        await post_piece(bench, content[at:end], offset=at, is_last=end == len(content))
        at = end


async def create(bench, **settings):
    body = {"batch": {"displayName": "b", "inputConfig": {"fileName": "files/f1"}}}
    answer = {"name": "batches/b1", "metadata": {"state": "BATCH_STATE_PENDING"}}
    guard = bench.guard(ScriptedApp(*json_answer(answer)), **{"job_estimate_usd": "0.25", **settings})
    return await call(guard, body, path=CREATE, headers=bearer())


async def look(bench, path, answer):
    messages = json_answer(answer) if isinstance(answer, dict) else answer
    await call(bench.guard(ScriptedApp(*messages)), path=path, method="GET", headers=bearer("sk-two"))
    await bench.settle()


def results(*output_tokens):
    lines = [
        {
            "key": f"k{n}",
            "response": {
                "candidates": [{"content": {"parts": [{"text": "x"}]}}],
                "modelVersion": "plain",
                "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": tokens},
            },
        }
        if tokens is not None
        else {"key": f"k{n}", "error": {"code": 3, "message": "x"}}
        for n, tokens in enumerate(output_tokens)
    ]
    content = "\n".join(map(json.dumps, lines)).encode()
    half = len(content) // 2
    begin = start(200, content_type="application/octet-stream")
    return [begin, chunk(content[:half]), chunk(content[half:], is_last=True)]


DONE = {
    "name": "batches/b1",
    "metadata": {"state": "BATCH_STATE_SUCCEEDED", "output": {"responsesFile": "files/batch-b1"}},
    "done": True,
    "response": {"responsesFile": "files/batch-b1"},
}


async def test_a_batch_is_held_by_its_file_and_booked_once_by_the_file_of_its_answers(bench):
    await upload(bench, planned(600, 200))
    assert (await create(bench)).status == 200
    assert await bench.figures() == ("0.00", "0.40")
    await look(bench, BATCH, {**DONE, "metadata": {"state": "BATCH_STATE_RUNNING"}, "response": {}, "done": False})
    await look(bench, BATCH, DONE)
    assert await bench.figures() == ("0.00", "0.40")
    for _ in range(2):
        await look(bench, RESULTS, results(100, 200, None))
        assert await bench.figures() == ("0.15", "0.00")


async def test_no_word_of_a_file_stands_in_the_store(memory):
    content = planned(600, 200)
    await upload(memory, content, ends=(30,))
    assert "secret words" not in str(vars(memory.reader))
    assert '"counts"' in str(vars(memory.reader))


async def test_calls_that_name_no_maximum_are_held_as_they_are_alone(bench):
    await upload(bench, planned(600, None))
    await create(bench, default_output_tokens="100", estimate="expected")
    assert await bench.figures() == ("0.00", "0.35")


LINE = len(planned(200))


@pytest.mark.parametrize(
    "ends",
    [(LINE + 1,), (LINE,), (LINE + 30,), (30,), (30, 50), (30, LINE + 30), (LINE - 1, LINE + 1)],
    ids=[
        "between",
        "before the end of a line",
        "within the second",
        "within the first",
        "twice",
        "in both",
        "around it",
    ],
)
async def test_a_file_in_pieces_counts_each_call_once(bench, ends):
    await upload(bench, planned(200, 200, 200), ends=ends)
    await create(bench)
    assert await bench.figures() == ("0.00", "0.30")


async def test_a_batch_with_a_call_that_was_cut_is_held_at_the_operators_estimate_at_least(bench):
    # Whoever cuts chooses which: the dear one of these.
    await upload(bench, planned(900_000, 1, 1), ends=(30,))
    await create(bench)
    assert await bench.figures() == ("0.00", "0.25")


@pytest.mark.parametrize(
    "size", [{"sizeBytes": "4321"}, {"size_bytes": 4_321}, {"sizeBytes": None}, {"sizeBytes": 5.5}]
)
async def test_of_a_file_of_another_size_than_came_by_nothing_is_known(bench, size):
    """Two places, or two uploads, that a request names: the app has taken the other one."""
    app = ScriptedApp(*json_answer({"file": {"name": "files/f1", **size}}))
    await post_piece(bench, planned(200), offset=0, is_last=True, app=app)
    await create(bench)
    assert await bench.figures() == ("0.00", "0.25" if size != {"sizeBytes": None} else "0.10")


@pytest.mark.parametrize("as_text", [str, int])
async def test_a_file_says_how_long_it_is(bench, as_text):
    app = ScriptedApp(*json_answer({"file": {"name": "files/f1", "sizeBytes": as_text(len(planned(200)))}}))
    await post_piece(bench, planned(200), offset=0, is_last=True, app=app)
    await create(bench)
    assert await bench.figures() == ("0.00", "0.10")


@pytest.mark.parametrize(
    "batch",
    [
        {"inputConfig": {"fileName": "files/f1"}, "input_config": {"fileName": "files/f2"}},
        {"inputConfig": {"fileName": "files/f1", "file_name": "files/f2"}},
        {"input_config": {"fileName": "files/f1", "file_name": "files/f2"}},
    ],
)
async def test_calls_that_are_named_twice_are_refused(memory, batch):
    """Nobody knows which of two spellings counts."""
    app = ScriptedApp(*json_answer({}))
    played = await call(memory.guard(app), {"batch": batch}, path=CREATE, headers=bearer())
    assert (played.status, app.scopes) == (400, [])


async def test_a_batch_of_a_tuned_model_is_held(bench):
    answer = {"name": "batches/b1", "metadata": {"state": "BATCH_STATE_PENDING"}}
    body = {"batch": {"inputConfig": {"fileName": "files/f1"}}}
    path = "/v1beta/tunedModels/mine:batchGenerateContent"
    await call(
        bench.guard(ScriptedApp(*json_answer(answer)), job_estimate_usd="0.25"), body, path=path, headers=bearer()
    )
    assert await bench.figures() == ("0.00", "0.25")


@pytest.mark.parametrize("offset", ["9" * 5_000, "-1", "\xb2", "1_0", ""], ids=["long", "below", "odd", "line", "none"])
async def test_an_offset_that_is_no_count_of_bytes_passes_and_counts_nothing(memory, offset):
    await post_piece(memory, planned(200), offset=offset, is_last=True)
    await create(memory)
    assert await memory.figures() == ("0.00", "0.25")


async def test_of_a_file_with_too_many_odd_lines_nothing_is_known(memory):
    await upload(memory, planned(200) + b"\n1" * 20_000, ends=(LINE + 1, LINE + 30_001))
    await create(memory)
    assert await memory.figures() == ("0.00", "0.25")


async def test_what_follows_a_piece_that_nobody_saw_is_not_known(bench):
    content = planned(200, 200)
    await post_piece(bench, content[LINE:], offset=LINE, is_last=True)
    await create(bench)
    assert await bench.figures() == ("0.00", "0.25")


@pytest.mark.parametrize("content", [b"\x89PNG...", b"[1, 2]", b'{"text": "x"}\n' + planned(200)])
async def test_a_file_of_something_else_plans_nothing(bench, content):
    await upload(bench, content)
    await create(bench)
    assert await bench.figures() == ("0.00", "0.25")


async def test_a_batch_beyond_the_budget_is_refused(bench):
    await upload(bench, planned(*[600] * 4))
    assert (await create(bench)).status == 429
    assert await bench.figures() == ("0.00", "0.00")


async def test_a_batch_whose_answers_nobody_reads_is_booked_at_its_deadline(bench):
    await upload(bench, planned(600))
    await create(bench)
    await look(bench, BATCH, DONE)
    bench.clock.advance(s=172_800)
    await bench.guard(ScriptedApp()).ledger.sweep()
    assert await bench.figures() == ("0.30", "0.00")
