"""Answers that are longer than BUDGET_MAX_BODY_BYTES: their usage is found all the same."""

import gzip
import json

import pytest
from starlette.types import Message

from budget_middleware.testing import ScriptedApp, call, chunk, event_stream, start
from tests.request.bench import Bench
from tests.request.wire import ask, bearer, usage

LOGPROBS = {"content": [{"token": "x", "logprob": -0.1, "bytes": [120]}] * 12_000}
USAGE = usage(600)


def answer(*fields: tuple[str, object]) -> bytes:
    """A completion with these fields in this order, one of which is long."""
    return json.dumps({"id": "c", "object": "chat.completion", "model": "plain"} | dict(fields)).encode()


def choices(text: str = "word") -> tuple[str, object]:
    message = {"role": "assistant", "content": text}
    return "choices", [{"index": 0, "message": message, "logprobs": LOGPROBS, "finish_reason": "stop"}]


def sent(body: bytes, *, size: int, encoding: str = "identity") -> tuple[Message, ...]:
    pieces = [body[n : n + size] for n in range(0, len(body), size)]
    return (start(content_encoding=encoding), *map(chunk, pieces), chunk(is_last=True))


LONG = {
    "at the end": answer(choices(), ("usage", USAGE)),
    "before the rest": answer(("usage", USAGE), choices()),
    "between": answer(choices(), ("usage", USAGE), ("prompt_logprobs", LOGPROBS)),
    "beside a smaller one that was sent": answer(
        ("tools", [{"usage": usage(1)}]), choices(), ("usage", USAGE), ("metadata", {"usage": usage(1)})
    ),
    "beside one in a text": answer(choices('{"usage": {"completion_tokens": 100000}}'), ("usage", USAGE)),
    "beside what is none": answer(("x", {"usage": {}}), choices(), ("usage", USAGE), ("y", {"usage": {"a": "b"}})),
}


@pytest.mark.parametrize("size", [7_000, 65_536, 10_000_000])
@pytest.mark.parametrize("body", LONG.values(), ids=LONG)
async def test_the_usage_of_a_long_answer_is_booked(bench: Bench, body: bytes, size: int):
    """At its estimate it would cost a sixth."""
    assert len(body) > 500_000
    guard = bench.guard(ScriptedApp(*sent(body, size=size)), max_body_bytes="100000", default_output_tokens="100")
    played = await call(guard, {"model": "plain", "messages": []}, headers=bearer())
    assert played.body == body
    assert await bench.figures() == ("0.60", "0.00")


async def test_so_it_is_of_one_that_comes_compressed(memory: Bench):
    packed = gzip.compress(LONG["between"])
    app = ScriptedApp(*sent(packed, size=100, encoding="gzip"))
    guard = memory.guard(app, max_body_bytes="100000", default_output_tokens="100")
    await call(guard, {"model": "plain", "messages": []}, headers=bearer())
    assert await memory.figures() == ("0.60", "0.00")


async def test_so_it_is_where_its_last_byte_never_comes(memory: Bench):
    begin, *chunks, _ = sent(LONG["at the end"], size=7_000)
    guard = memory.guard(ScriptedApp(begin, *chunks), max_body_bytes="100000", default_output_tokens="100")
    await call(guard, {"model": "plain", "messages": []}, headers=bearer())
    assert await memory.figures() == ("0.60", "0.00")


@pytest.mark.parametrize("more", [[{"usage": {}}] * 70, ["usage"] * 20_000])
async def test_one_with_very_many_of_them_costs_its_estimate(memory: Bench, more: object):
    """As one without any: to look at each takes time."""
    for body in (answer(choices(), ("usage", USAGE), ("x", more)), answer(choices())):
        guard = memory.guard(ScriptedApp(*sent(body, size=7_000)), max_body_bytes="100000", limits="key=9/month")
        played = await call(guard, ask(400), headers=bearer())
        assert played.status == 200
    assert await memory.figures() == ("0.80", "0.00")


async def test_the_model_that_answers_is_found(memory: Bench):
    body = LONG["at the end"].replace(b'"model": "plain"', b'"model": "gift"')
    guard = memory.guard(ScriptedApp(*sent(body, size=7_000)), max_body_bytes="100000")
    await call(guard, ask(400), headers=bearer())
    assert await memory.figures() == ("0.00", "0.00")


async def test_of_a_stream_with_an_event_that_is_too_long_the_text_counts_at_least(memory: Bench):
    """So it is with a response that repeats all of its text, and the probability of each token."""
    deltas = [{"type": "response.output_text.delta", "delta": "four"} for _ in range(600)]
    last = {"type": "response.completed", "response": {"x": "x" * 2_000_000, "usage": {"output_tokens": 600}}}
    app = ScriptedApp(*event_stream(*deltas, last))
    guard = memory.guard(app, max_body_bytes="100000", estimate="expected", default_output_tokens="100")
    await call(guard, {"model": "plain", "input": "x", "stream": True}, headers=bearer(), path="/v1/responses")
    assert await memory.figures() == ("0.60", "0.00")


@pytest.mark.parametrize("n_vectors", [10, 400])
@pytest.mark.parametrize("max_bytes", ["100000", "10000000"])
async def test_so_are_embeddings_which_have_no_output(bench: Bench, n_vectors: int, max_bytes: str):
    """The second of these has too many values to be parsed, if it is kept."""
    data = [{"object": "embedding", "index": n, "embedding": [0.0123456] * 1_000} for n in range(n_vectors)]
    body = json.dumps({"object": "list", "data": data, "usage": {"prompt_tokens": 600, "total_tokens": 600}}).encode()
    guard = bench.guard(ScriptedApp(*sent(body, size=65_536)), max_body_bytes=max_bytes)
    await call(guard, {"model": "talk", "input": "word"}, headers=bearer(), path="/v1/embeddings")
    assert await bench.figures() == ("0.60", "0.00")


@pytest.mark.parametrize("reported", [{}, {"usage": {"prompt_tokens": 0, "total_tokens": 0}}])
async def test_long_embeddings_without_a_usage_cost_their_estimate(memory: Bench, reported: dict[str, object]):
    body = json.dumps({"data": [{"embedding": [0.0123456] * 20_000}], **reported}).encode()
    guard = memory.guard(ScriptedApp(*sent(body, size=65_536)), max_body_bytes="100000")
    played = await call(guard, {"model": "talk", "input": "x" * 400}, headers=bearer(), path="/v1/embeddings")
    assert (await memory.figures())[0] == played.headers["x-budget-estimate-usd"] > "0.01"
