"""Files that are uploaded in parts: a batch of one is held by its calls, wherever the file was cut."""

import json
import random

import pytest

from budget_middleware.apis.jobs.batches import planned_in
from budget_middleware.testing import ScriptedApp, call, chunk, json_answer, start
from tests.request.test_batch_requests import BOUNDARY, UPLOAD, create, form, planned
from tests.request.wire import bearer

CALLS = planned(600, 200, 100, 100)
"""A dollar for a thousand tokens, and half of it in a batch: 0.50."""


def part_form(content, *, field="data", filename="blob"):
    named = f'; filename="{filename}"' if filename else ""
    head = f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="{field}"{named}\r\n\r\n'
    return head.encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()


async def send_part(bench, id_, content, *, upload="upload_1", body=None, headers=None):
    app = ScriptedApp(*json_answer({"id": id_, "object": "upload.part", "upload_id": upload}))
    body = part_form(content) if body is None else body
    path = f"/v1/uploads/{upload}/parts"
    played = await call(bench.guard(app), body, path=path, headers=UPLOAD | (headers or {}))
    assert (played.status, app.bodies) == (200, [body])


async def complete(bench, ids, n_bytes, *, purpose="batch", body=None, headers=None, **file):
    kept = {"id": "file-in", "object": "file", "bytes": n_bytes, "purpose": purpose, **file}
    app = ScriptedApp(*json_answer({"id": "upload_1", "object": "upload", "status": "completed", "file": kept}))
    body = {"part_ids": ids} if body is None else body
    headers = bearer() | (headers or {})
    assert (await call(bench.guard(app), body, path="/v1/uploads/upload_1/complete", headers=headers)).status == 200


def cut_at(content, *places):
    return [content[start:end] for start, end in zip((0, *places), (*places, len(content)), strict=True)]


async def upload(bench, pieces, *, order=None, **options):
    """Each part is sent to a worker of its own, in any order."""
    ids = [f"part_{n}" for n in range(len(pieces))]
    for id_, piece in random.Random(7).sample(list(zip(ids, pieces, strict=True)), len(pieces)):
        await send_part(bench, id_, piece)
    await complete(bench, order or ids, sum(map(len, pieces)), **options)


async def held(bench):
    """What a batch of the file is held at; 0.07 if nothing is known of it."""
    await create(bench, job_estimate_usd="0.07")
    spent, reserved = await bench.figures()
    assert spent == "0.00"
    return reserved


async def test_of_a_part_with_too_many_odd_lines_nothing_is_known(memory):
    await upload(memory, [CALLS + b"\n1" * 20_000, b"\n" + CALLS])
    assert await held(memory) == "0.07"


LINE_ENDS = [at for at, byte in enumerate(CALLS) if byte == ord("\n")]


@pytest.mark.parametrize(
    "places",
    [(), (LINE_ENDS[0],), (LINE_ENDS[0] + 1,), (LINE_ENDS[1], LINE_ENDS[2] + 1)],
    ids=["whole", "before-a-line-end", "behind-it", "three"],
)
async def test_a_batch_is_held_by_the_calls_of_all_parts(bench, places):
    await upload(bench, cut_at(CALLS, *places))
    assert await held(bench) == "0.50"


@pytest.mark.parametrize("places", [(40,), (40, 50), (40, 50, 60)], ids=["two-parts", "three", "four"])
async def test_a_call_that_is_cut_counts_as_much_as_the_others(memory, places):
    # The first one, of 600: each of the others costs .0667 on average.
    await upload(memory, cut_at(CALLS, *places))
    assert await held(memory) == "0.266666667"


def test_no_piece_of_a_call_is_taken_for_one():
    line = json.dumps({"body": {"a": ["{", '{"body":1}', '\\"{}', {"body": {}}], "b": '"'}, "x": "}"}).encode()
    assert planned_in(line) is not None
    pieces = [line[at:end] for at in range(len(line)) for end in range(at + 1, len(line) + 1) if end - at < len(line)]
    # From within it, where an object of its own stands; at its ends, where parts are cut, there is none.
    taken = [piece for piece in pieces if planned_in(piece) is not None]
    assert all(not line.startswith(piece) and not line.endswith(piece) for piece in taken)


async def test_a_batch_with_a_call_that_was_cut_is_held_at_the_operators_estimate_at_least(memory):
    # Whoever cuts chooses which: the dear one of these.
    await upload(memory, cut_at(planned(900_000, 1, 1, 1), 40))
    assert await held(memory) == "0.07"


async def test_the_parts_count_that_the_file_is_made_of(memory):
    pieces = cut_at(CALLS, LINE_ENDS[0] + 1, LINE_ENDS[1] + 1)
    for n, piece in enumerate(pieces):
        await send_part(memory, f"part_{n}", piece)
    await complete(memory, ["part_2", "part_1"], len(pieces[1]) + len(pieces[2]))
    assert await held(memory) == "0.20"


UNKNOWN = {
    "a part that did not come by": {"order": ["part_0", "part_9"]},
    "another length": {"bytes": 7},
    "no part": {"body": {"md5": "x"}},
    "parts that are named twice": {"body": b'{"part_ids":["part_0","part_1"],"Part_ids":["part_0","part_1"]}'},
    "parts that are no texts": {"body": {"part_ids": ["part_0", "part_1", 7]}},
    "what cannot be read": {"body": b"{" * 100_000},
    "what is compressed": {"headers": {"content-encoding": "gzip"}},
}


@pytest.mark.parametrize("options", UNKNOWN.values(), ids=UNKNOWN)
async def test_what_is_not_sure_is_held_at_the_operators_estimate(memory, options):
    await upload(memory, cut_at(CALLS, LINE_ENDS[0] + 1), **options)
    assert await held(memory) == "0.07"


PARTS_UNREAD = {
    "a field that is no file": {"body": part_form(CALLS, filename="")},
    "no form": {"body": CALLS},
    "an unclear form": {"body": b"before " + part_form(CALLS)},
    "a compressed form": {"headers": {"content-encoding": "gzip"}},
}


@pytest.mark.parametrize("options", PARTS_UNREAD.values(), ids=PARTS_UNREAD)
async def test_a_part_that_is_not_read_makes_the_file_unknown(memory, options):
    await send_part(memory, "part_0", CALLS, **options)
    await complete(memory, ["part_0"], len(CALLS))
    assert await held(memory) == "0.07"


@pytest.mark.parametrize(("ids", "reserved"), [(["part_0"], "0.50"), (["part_0", "part_9"], "0.07")])
async def test_where_the_file_does_not_say_how_long_it_is_all_parts_have_to_be_known(memory, ids, reserved):
    await send_part(memory, "part_0", CALLS)
    app = ScriptedApp(*json_answer({"id": "upload_1", "file": {"id": "file-in", "purpose": "batch"}}))
    await call(memory.guard(app), {"part_ids": ids}, path="/v1/uploads/upload_1/complete", headers=bearer())
    assert await held(memory) == reserved


async def test_the_parts_of_another_upload_do_not_count(memory):
    await send_part(memory, "part_0", CALLS, upload="upload_2")
    await complete(memory, ["part_0"], len(CALLS))
    assert await held(memory) == "0.07"


async def test_a_part_of_something_else_among_calls_makes_the_file_unknown(memory):
    await upload(memory, [CALLS + b"\n", b"\x00\nno\ncalls\n"])
    assert await held(memory) == "0.07"


async def test_a_line_that_is_no_call_counts_as_the_others(memory):
    await upload(memory, [planned(600) + b"\nno call\n", planned(200)])
    assert await held(memory) == "0.60"


async def test_a_line_that_is_too_long_counts_as_the_others(memory):
    app = ScriptedApp(*json_answer({"id": "part_0"}))
    long = planned(600) + b"\n" + b'{"body":"' + b"x" * 200_000 + b'"}\n'
    guard = memory.guard(app, max_body_bytes="100000")
    await call(guard, part_form(long), path="/v1/uploads/upload_1/parts", headers=UPLOAD)
    await complete(memory, ["part_0"], len(long))
    assert await held(memory) == "0.60"


async def test_no_word_of_it_stands_in_the_store(memory):
    await upload(memory, cut_at(CALLS, 40))
    kept = str(vars(memory.reader))
    assert '"part"' in kept
    assert "secret words" not in kept


async def test_what_a_model_is_trained_on_counts_by_its_length(memory):
    lines = json.dumps({"messages": [{"role": "user", "content": "secret words"}]}).encode() * 100
    pieces = cut_at(lines, 100, 1_000)
    await upload(memory, pieces, purpose="fine-tune")
    assert str(len(lines)) in str(vars(memory.reader))


async def test_a_part_whose_answer_is_an_error_is_not_known(memory):
    app = ScriptedApp(start(500), chunk(b'{"id": "part_0"}', is_last=True))
    await call(memory.guard(app), part_form(CALLS), path="/v1/uploads/upload_1/parts", headers=UPLOAD)
    await complete(memory, ["part_0"], len(CALLS))
    assert await held(memory) == "0.07"


async def test_a_form_is_that_of_a_whole_file_as_before(memory):
    app = ScriptedApp(*json_answer({"id": "file-in"}))
    await call(memory.guard(app), form(CALLS), path="/v1/files", headers=UPLOAD)
    assert await held(memory) == "0.50"
