"""What is booked where an answer's usage cannot be true."""

import pytest

from budget_middleware.testing import ScriptedApp, call, chunk, event, json_answer
from tests.request.wire import DONE, LAST, STREAM_START, TALK, bearer, delta, usage, usage_event, words
from tests.stores.verbs import whole_journal

TRUE = event(usage_event(100, 50))
ZEROS = event(usage_event(0))
CUT = chunk(is_last=True)

# TALK: .05 for the input as it is expected and as it is told; a hundred words, or tokens, are .12.
STREAMS = {
    "zeros after the true one": ([*words(), TRUE, ZEROS, DONE, LAST], "0.17", "usage"),
    "zeros on the last words": ([*words(99), event(delta(usage=usage(100, 50))), ZEROS, DONE, LAST], "0.17", "usage"),
    "zeros alone": ([*words(), ZEROS, DONE, LAST], "0.17", "estimated_complete"),
    "an input, and no output": ([*words(), event(usage_event(0, 30)), DONE, LAST], "0.15", "estimated_complete"),
    "an output that shrinks": ([*words(), TRUE, event(usage_event(1, 50)), DONE, LAST], "0.17", "usage"),
    "more tokens than there are": (
        [*words(), event(usage_event(10**12, 50)), DONE, LAST],
        "0.17",
        "estimated_complete",
    ),
    "more tokens than there are, after the true one": (
        [*words(), TRUE, event(usage_event(10**12, 10**12)), DONE, LAST],
        "0.17",
        "usage",
    ),
    # Told as the stream begins, and then no more: who leaves early does not get the rest for nothing.
    "one of the beginning": ([event(delta(usage=usage(1, 50))), *words(99), CUT], "0.17", "estimated_complete"),
}


@pytest.mark.parametrize(("messages", "spent", "reason"), STREAMS.values(), ids=STREAMS)
async def test_f52_a_usage_that_cannot_be_overwrites_none(bench, messages, spent, reason):
    guard = bench.guard(ScriptedApp(STREAM_START, *messages))
    assert (await call(guard, TALK, headers=bearer())).status == 200
    assert await bench.figures() == (spent, "0.00")
    assert (await whole_journal(bench.reader))[-1].reason == reason


CUSTOM_CALL = {"tool_calls": [{"index": 0, "type": "custom", "custom": {"input": "word"}}]}
IMAGE = {"images": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]}


@pytest.mark.parametrize(
    ("delta_", "spent"),
    [
        # Read 20 tokens of it, and leave: .05 for the input and .024 for the text.
        (CUSTOM_CALL, "0.074"),
        # What is no text, or in no field that is known: the estimate.
        (IMAGE, "0.65"),
        ({"audio": {"id": "a", "data": "AAAA"}}, "0.65"),
        ({"whatever": "word"}, "0.65"),
        # Nothing was generated here.
        ({"role": "assistant", "annotations": [{"type": "url_citation", "url": "https://x"}]}, "0.05"),
    ],
    ids=["a custom tool call", "an image", "sound", "a field that is not known", "a citation"],
)
async def test_f48_unknown_output_is_not_free(bench, delta_, spent):
    events = [event({"choices": [{"index": 0, "delta": delta_}]})] * 20
    # The client leaves: the app returns without a last message.
    await call(bench.guard(ScriptedApp(STREAM_START, *events)), TALK, headers=bearer())
    assert await bench.figures() == (spent, "0.00")
    assert (await whole_journal(bench.reader))[-1].reason == "estimated_partial"


@pytest.mark.parametrize("document", [usage_event(0), {"choices": []}])
async def test_f48_nor_with_a_usage_of_zeros(bench, document):
    image = event({"choices": [{"index": 0, "delta": IMAGE}]})
    guard = bench.guard(ScriptedApp(STREAM_START, image, event(document), DONE, LAST))
    await call(guard, TALK, headers=bearer())
    assert await bench.figures() == ("0.65", "0.00")


async def test_f48_a_true_usage_tells_what_the_text_does_not(bench):
    image = event({"choices": [{"index": 0, "delta": IMAGE}]})
    guard = bench.guard(ScriptedApp(STREAM_START, image, TRUE, DONE, LAST))
    await call(guard, TALK, headers=bearer())
    assert await bench.figures() == ("0.17", "0.00")
    assert (await whole_journal(bench.reader))[-1].reason == "usage"


async def test_f52_a_whole_answer_of_zeros_with_a_text(bench):
    document = {"choices": [{"message": {"content": "word" * 100}}], "usage": usage(0)}
    guard = bench.guard(ScriptedApp(*json_answer(document)))
    await call(guard, {**TALK, "stream": False}, headers=bearer())
    assert await bench.figures() == ("0.17", "0.00")
    assert (await whole_journal(bench.reader))[-1].reason == "estimated_complete"


@pytest.mark.parametrize(
    ("path", "body", "answer"),
    [
        ("/v1/embeddings", {"input": "x" * 200}, {"data": [{"embedding": [0.1]}], "usage": {"prompt_tokens": 0}}),
        ("/v1/rerank", {"query": "x" * 200}, {"results": [{"index": 0}], "usage": {"total_tokens": 0}}),
    ],
)
async def test_f52_results_for_an_input_of_0(bench, path, body, answer):
    guard = bench.guard(ScriptedApp(*json_answer(answer)))
    await call(guard, {"model": "talk", **body}, path=path, headers=bearer())
    assert await bench.figures() == ("0.05", "0.00")
    assert (await whole_journal(bench.reader))[-1].reason == "estimated_complete"


async def test_f52_a_cost_of_0_after_the_true_one(bench):
    messages = [*words(), event(usage_event(100, 50, cost=0)), DONE, LAST]
    messages[100:100] = [event({"choices": [], "usage": {**usage(100, 50), "cost": 0.25}})]
    guard = bench.guard(ScriptedApp(STREAM_START, *messages))
    await call(guard, TALK, headers=bearer())
    assert await bench.figures() == ("0.25", "0.00")
