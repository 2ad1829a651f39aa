"""Answers of millions of values: their usage is read, and nobody waits for objects of all the rest."""

import json
import time

import pytest

from budget_middleware.apis import APIS
from budget_middleware.apis.answers.answer_reader import AnswerReader

BOUND_S = 0.5
"""Some 20 ms are meant. Parsing took seconds; the machine that tests run on is slow and shared."""

USAGE = {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500}
HEAVY = "[" + "{}," * 3_000_000 + "{}]"


def reader(content_type: bytes, *, api: str = "openai-chat") -> AnswerReader:
    found = next(each for each in APIS if each.name == api)
    reading = AnswerReader(found, hide_usage=False, max_body_bytes=10_000_000)
    reading.begin(200, [(b"content-type", content_type)])
    return reading


def fed(reading: AnswerReader, raw: bytes) -> float:
    """How long the last of its pieces took, in which it is read; each of them is passed on as it came."""
    pieces = [raw[at : at + 65_536] for at in range(0, len(raw), 65_536)]
    for piece in pieces[:-1]:
        assert reading.feed(piece, last=False) == piece
    started = time.thread_time()
    assert reading.feed(pieces[-1], last=True) == pieces[-1]
    return time.thread_time() - started


def test_f58_a_heavy_answer_is_booked_by_its_usage_and_holds_nobody_up():
    reading = reader(b"application/json")
    raw = f'{{"model": "m", "choices": {HEAVY}, "usage": {json.dumps(USAGE)}}}'.encode()
    assert fed(reading, raw) < BOUND_S
    usage, seen = reading.seen.usage, reading.seen
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, seen.model) == (1000, 500, "m")


def test_f58_a_heavy_answer_without_a_usage_is_no_free_one():
    reading = reader(b"application/json")
    assert fed(reading, f'{{"choices": {HEAVY}}}'.encode()) < BOUND_S
    assert reading.seen.usage is None
    assert reading.seen.has_unread_output
    assert not reading.seen.readable


def test_f58_a_heavy_answer_that_is_cut_off():
    reading = reader(b"application/json")
    assert fed(reading, f'{{"choices": {HEAVY}, "usa'.encode()) < BOUND_S
    assert reading.seen.has_unread_output


def test_f58_a_heavy_event_is_read_by_the_answer_in_it():
    reading = reader(b"text/event-stream", api="openai-responses")
    usage = {"input_tokens": 1000, "output_tokens": 500, "total_tokens": 1500}
    response = f'{{"status": "completed", "output": {HEAVY}, "usage": {json.dumps(usage)}}}'
    raw = f'data: {{"type": "response.completed", "response": {response}}}\n\n'.encode()
    assert fed(reading, raw) < BOUND_S
    assert reading.seen.usage is not None
    assert reading.seen.usage.output_tokens == 500
    assert reading.seen.terminal


def test_a_long_text_is_no_heavy_answer():
    text = "Some words, and more of them. " * 200_000
    reading = reader(b"application/json")
    fed(reading, json.dumps({"choices": [{"message": {"content": text}}], "usage": USAGE}).encode())
    assert reading.seen.readable
    assert reading.seen.text_bytes == len(text)


@pytest.mark.parametrize("vectors", [1, 400])
def test_embeddings_of_any_number_are_booked_by_their_usage(vectors: int):
    data = [{"index": number, "embedding": [0.0123456] * 1_536} for number in range(vectors)]
    reading = reader(b"application/json", api="openai-embeddings")
    fed(reading, json.dumps({"data": data, "model": "m", "usage": {"prompt_tokens": 7, "total_tokens": 7}}).encode())
    assert reading.seen.usage is not None
    assert reading.seen.usage.input_tokens == 7
