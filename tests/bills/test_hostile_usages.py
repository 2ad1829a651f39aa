"""Usages that no provider would send: each is answered as it came, in bounded time, and booked; none is free."""

import time
from collections.abc import Callable

import pytest

from budget_middleware.testing import ScriptedApp, call, chunk, start
from tests.request.wire import KEY, bearer
from tests.stores.verbs import whole_journal

BODY = {"model": "gpt-4o", "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}]}
# What was estimated: five tokens of input at 2.5, a hundred of output at 10 a million; and two of those for "hello".
ESTIMATE, SEEN = "0.0010125", "0.0000325"
BOUND_S = 2.0
"""A fifth of a second is meant. Making objects of all that ten megabytes can hold took ten times as long."""


def answer_with(usage: str) -> bytes:
    head = '{"model":"gpt-4o","choices":[{"message":{"content":"hello"},"finish_reason":"stop"}],"usage":'
    return f"{head}{usage}}}".encode()


async def ending(memory, raw, *, content_type="application/json", piece_bytes=65_536):
    """What the key has spent, the reason in the journal, and the CPU time that the answer took."""
    pieces = [raw[at : at + piece_bytes] for at in range(0, len(raw), piece_bytes)]
    script = [start(content_type=content_type), *map(chunk, pieces), chunk(is_last=True)]
    guard = memory.guard(ScriptedApp(*script), limits="key=9/month")
    began = time.thread_time()
    played = await call(guard, BODY, path="/v1/chat/completions", headers=bearer())
    took_s = time.thread_time() - began
    assert (played.status, played.body) == (200, raw)
    spent, reserved = await memory.figures(KEY)
    assert reserved == "0.00"
    return spent, (await whole_journal(memory.reader))[-1].reason, took_s


# Numbers for the tokens of the input -> what is booked. As whole numbers go, 1000 and 10 are .0026.
NUMBERS = {
    "1000": ("0.0026", "usage"),
    "1000.0": ("0.0026", "usage"),
    "1e3": ("0.0026", "usage"),
    '"1000"': ("0.0026", "usage"),
    '" 1000.0 "': ("0.0026", "usage"),
    '"1e3"': (SEEN, "estimated_complete"),
    '"1000 tokens"': (SEEN, "estimated_complete"),
    '""': (SEEN, "estimated_complete"),
    "1000.5": (SEEN, "estimated_complete"),
    "-1000": (SEEN, "estimated_complete"),
    "true": (SEEN, "estimated_complete"),
    "null": (SEEN, "estimated_complete"),
    "[1000]": (SEEN, "estimated_complete"),
    "NaN": (SEEN, "estimated_complete"),
    "Infinity": (SEEN, "estimated_complete"),
    "-Infinity": (SEEN, "estimated_complete"),
    "1e400": (SEEN, "estimated_complete"),
    "9223372036854775807": (SEEN, "estimated_complete"),
    "9223372036854775808": (SEEN, "estimated_complete"),
    "18446744073709551616": (SEEN, "estimated_complete"),
    "1" + "0" * 400: (SEEN, "estimated_complete"),
    # No input beside an output: it is taken as it was expected, five tokens.
    "0": ("0.0001125", "usage_unreconciled"),
    "-0": ("0.0001125", "usage_unreconciled"),
    "-0.0": ("0.0001125", "usage_unreconciled"),
}


@pytest.mark.parametrize("number", NUMBERS)
async def test_a_number_that_is_no_count(memory, number):
    raw = answer_with(f'{{"prompt_tokens": {number}, "completion_tokens": 10}}')
    assert (await ending(memory, raw))[:2] == NUMBERS[number]


@pytest.mark.parametrize("number", ['"a"', '"-12"', "-1", "NaN", "1e400", "18446744073709551616", "true", "{}"])
@pytest.mark.parametrize("field", ["cached_tokens", "audio_tokens", "image_tokens"])
async def test_a_part_that_is_no_count_is_none(memory, field, number):
    details = f'"prompt_tokens_details": {{"{field}": {number}}}'
    raw = answer_with(f'{{"prompt_tokens": 1000, "completion_tokens": 10, {details}}}')
    assert (await ending(memory, raw))[:2] == ("0.0026", "usage")


@pytest.mark.parametrize("cost", ['"free"', "-1", "NaN", "1e400", "9000001", "true", "[]", '"1e99"'])
async def test_a_cost_that_is_none_leaves_the_usage(memory, cost):
    raw = answer_with(f'{{"prompt_tokens": 1000, "completion_tokens": 10, "cost": {cost}}}')
    assert (await ending(memory, raw))[:2] == ("0.0026", "usage")


TOKENS = '"prompt_tokens": 1000, "completion_tokens": 10'
# Each is made when its test asks.
HUGE: dict[str, tuple[Callable[[], str], str]] = {
    "a million fields": (lambda: "{" + TOKENS + "," + ",".join(f'"f{n}":{n}' for n in range(600_000)) + "}", "0.0026"),
    "one text": (lambda: "{" + TOKENS + ',"x":"' + "a" * 9_800_000 + '"}', "0.0026"),
    "escapes": (lambda: "{" + TOKENS + ',"x":"' + "\\u0041" * 1_600_000 + '"}', "0.0026"),
    "a list of numbers": (lambda: "{" + TOKENS + ',"prompt_tokens_details":[' + "1," * 4_900_000 + "1]}", "0.0026"),
    "a list of objects": (lambda: "{" + TOKENS + ',"prompt_tokens_details":[' + "{}," * 3_200_000 + "{}]}", "0.0026"),
    "one field, again and again": (lambda: "{" + TOKENS + ',"prompt_tokens":1000' * 450_000 + "}", "0.0026"),
    # No parser of JSON takes these: the answer is booked as it was estimated.
    "depth": (lambda: "{" + TOKENS + ',"x":' + "[" * 4_900_000 + "]" * 4_900_000 + "}", ESTIMATE),
    "digits": (lambda: "{" + TOKENS + ',"total_tokens":' + "9" * 9_800_000 + "}", ESTIMATE),
}


@pytest.mark.parametrize("kind", HUGE)
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_usage_of_10_mb_is_booked_and_holds_nobody_up(memory, kind, streamed):
    usage, spent = HUGE[kind]
    raw = answer_with(usage())
    assert len(raw) > 7_000_000
    content_type = "text/event-stream" if streamed else "application/json"
    raw = b"data: " + raw + b"\n\ndata: [DONE]\n\n" if streamed else raw
    booked, reason, took_s = await ending(memory, raw, content_type=content_type)
    assert booked == spent
    assert reason == ("estimated_complete" if spent == ESTIMATE else "usage")
    assert took_s < BOUND_S


async def test_so_is_one_that_comes_in_one_piece(memory):
    raw = answer_with(HUGE["a list of objects"][0]())
    booked, _, took_s = await ending(memory, raw, piece_bytes=len(raw))
    assert booked == "0.0026"
    assert took_s < BOUND_S


async def test_a_usage_of_google_as_large(memory):
    counts = '"promptTokenCount": 1000, "candidatesTokenCount": 10, "x": [' + "{}," * 3_200_000 + "{}]"
    raw = f'{{"candidates": [], "modelVersion": "gpt-4o", "usageMetadata": {{{counts}}}}}'.encode()
    guard = memory.guard(ScriptedApp(start(), chunk(raw, is_last=True)), limits="key=9/month")
    path = "/v1beta/models/gemini-2.5-pro:generateContent"
    assert (await call(guard, {"contents": []}, path=path, headers=bearer())).body == raw
    assert (await memory.figures(KEY))[0] == "0.0026"
