"""Bodies of any shape: the event loop is not held up by them, and memory is bounded."""

import json
import time
import tracemalloc
from collections.abc import Callable
from functools import partial

import pytest

from budget_middleware.core.money import usd_from_nanos
from budget_middleware.testing import ScriptedApp, call
from tests.request.turns import longest_step_s
from tests.request.wire import KEY, bearer, completion

MODEL = b'{"model": "plain", "max_tokens": 600, "stream": "no", "messages": '
SIZE = 9_900_000
# Where there are too many values, their fields are looked for in bodies of up to 5 MB.
SEARCHED = 4_900_000
# So many fields are few enough to be parsed.
FEW = range(60_000)
LIGHT = b",".join([b'{"a":1}'] * 35_000)
# Objects that are looked into for fields that come twice.
DECIDE = (b"session", b"options", b"generationConfig", b"generation_config", b"inferenceConfig")


def filled(item: bytes, size: int = SIZE) -> bytes:
    room = size - len(MODEL) - 3
    return MODEL + b"[" + b",".join([item] * (room // (len(item) + 1))) + b"]}"


PROSE = b'He said, \\"take {this}, [that], and a backslash \\\\\\\\ too\\", and left. '
FOREIGN = "größe und 東京 ".encode()
IMAGE = b'{"type":"image_url","image_url":"data:image/jpeg;base64,'
# Made when a test asks: together they are a quarter of a gigabyte.
SHAPES: dict[str, Callable[[], bytes]] = {
    "objects": lambda: filled(b"{}"),
    "arrays": lambda: filled(b"[]"),
    "nested": lambda: filled(b'[{"a":[{}]}]'),
    "fields": lambda: filled(b'{"a":1}'),
    "parts": lambda: filled(b'{"type":"image_url","image_url":"x"}'),
    "parts with files": lambda: filled(IMAGE + b"/9j/" * 25_000 + b'"}'),
    "words": lambda: filled(b'"abcd"'),
    "tokens": lambda: filled(b"1234"),
    "numbers": lambda: filled(b"1.5"),
    "names": lambda: MODEL + b"{" + b",".join(b'"k%d":1' % n for n in range(800_000)) + b"}}",
    "fields of its own": lambda: MODEL + b"[]," + b",".join(b'"k%d":1' % n for n in range(800_000)) + b"}",
    "as many fields as are parsed": lambda: MODEL + b"[], " + b", ".join(b'"k%d": 1' % n for n in FEW) + b"}",
    "objects that decide, and NaN": lambda: (
        MODEL + b"[NaN]," + b"".join(b'"%b":{},' % name for name in DECIDE) + b'"x":[' + LIGHT + b"]}"
    ),
    "one of them twice": lambda: MODEL + b"[]," + b",".join(b'"k%d":1' % n for n in (*FEW, FEW[-1])) + b"}",
    "prose": lambda: filled(b'{"role":"user","content":"' + PROSE * 140_000 + b'"}'),
    "prose in many messages": lambda: filled(b'{"role":"user","content":"' + PROSE * 20 + b'"}'),
    "prose of another script": lambda: filled(b'{"role":"user","content":"' + FOREIGN * 470_000 + b'"}'),
    "UTF-16": lambda: (MODEL.decode() + json.dumps(["größe " * 700_000], ensure_ascii=False) + "}").encode("utf-16"),
    "NaN at the end": lambda: filled(b"{}")[:-1] + b',"x":NaN}',
    "depth": lambda: MODEL + b"[" * 9_000_000,
    "backslashes": lambda: filled(b'"' + b"\\\\" * 1_000_000 + b'"'),
    "escaped quotes": lambda: filled(b'"' + b'\\"' * 1_000_000 + b'"'),
    "digits": lambda: MODEL + b"1" * 9_000_000 + b"}",
    "white space": lambda: MODEL + b" " * 9_000_000 + b"[]}",
}
READ = (
    *("prose", "prose in many messages", "prose of another script", "UTF-16", "parts with files", "backslashes"),
    *("escaped quotes", "white space", "as many fields as are parsed", "objects that decide, and NaN"),
)
SHAPES |= {
    f"half as many {name}": partial(filled, item, SEARCHED)
    for name, item in {"objects": b"{}", "arrays": b"[]", "tokens": b"1234", "numbers": b"1.5"}.items()
}
SERVED = (*READ, *(name for name in SHAPES if name.startswith("half")))


class TestLongestStep:
    # What is refused for its body is not estimated.
    @pytest.mark.parametrize(
        ("shape", "estimate"),
        [(shape, "expected") for shape in SHAPES] + [(shape, "worst") for shape in SERVED],
    )
    async def test_f58_the_loop_is_never_held_up_for_long(self, memory, shape, estimate):
        """About 20 ms on an idle machine of 2024; the bound leaves room for slow ones."""
        guard = memory.guard(ScriptedApp(*completion(0)), limits="key=9/month", estimate=estimate)
        raw = SHAPES[shape]()
        pieces = [raw[start : start + 262_144] for start in range(0, len(raw), 262_144)]
        played, step_s = await longest_step_s(call(guard, pieces, headers=bearer()))
        print(f"{shape}, {estimate}: {1000 * step_s:.1f} ms")
        assert played.status == (200 if shape in SERVED else 400)
        assert step_s < 0.15

    async def test_f58_side_by_side_with_parsing_it_at_once(self, memory):
        raw = SHAPES["objects"]()
        guard = memory.guard(ScriptedApp(*completion(0)), limits="key=9/month")
        _, step_s = await longest_step_s(call(guard, raw, headers=bearer()))
        started_s = time.thread_time()
        json.loads(raw)
        assert step_s < (time.thread_time() - started_s) / 4


@pytest.mark.parametrize("shape", ["objects", "tokens", "words", "names", "prose"])
async def test_f58_memory_is_bounded(memory, shape):
    guard = memory.guard(ScriptedApp(*completion(0)), limits="key=9/month")
    raw = SHAPES[shape]()
    tracemalloc.start()
    try:
        await call(guard, raw, headers=bearer())
        # The body, and copies of it without what is escaped.
        assert tracemalloc.get_traced_memory()[1] < 70 << 20
    finally:
        tracemalloc.stop()


class TestWhatIsReadOfThem:
    async def test_f58_the_rest_counts_by_its_length(self, memory, tmp_path):
        prices = tmp_path / "p.toml"
        prices.write_text("[models.plain]\ninput = 1\noutput = 1000\n")
        guard = memory.guard(ScriptedApp(*completion(0)), limits="key=9/month", prices=str(prices))
        raw = SHAPES["half as many objects"]()
        played = await call(guard, raw, headers=bearer())
        # A token for four bytes, and the output that is asked for.
        assert played.headers["x-budget-estimate-usd"] == usd_from_nanos(600_000_000 + -(-len(raw) // 4) * 1_000)

    async def test_f58_usage_is_asked_for_all_the_same(self, memory):
        app = ScriptedApp(*completion(600))
        for more in (b"", b', "stream_options": {"include_usage": false}'):
            raw = SHAPES["half as many objects"]().replace(b'"stream": "no"', b'"stream": true')[:-1] + more + b"}"
            await call(memory.guard(app, limits="key=9/month"), raw, headers=bearer())
            told = json.loads(app.bodies.pop())
            assert told["stream_options"] == {"include_usage": True}
            assert len(told["messages"]) > 1_500_000

    async def test_f58_who_pays_is_read(self, memory):
        raw = SHAPES["half as many objects"]()[:-1] + b', "metadata": {"team": "red", "x": [1, 2]}}'
        guard = memory.guard(ScriptedApp(*completion(600)), accounts="key=token; team=body:metadata.team")
        await call(guard, raw, headers=bearer())
        assert await memory.accounts() == {KEY, "team:red"}

    async def test_f58_a_field_that_is_too_long_is_not_guessed(self, memory):
        raw = SHAPES["half as many objects"]()[:-1] + b', "metadata": {"team": "red", "x": "' + b"x" * 70_000 + b'"}}'
        app = ScriptedApp(*completion(600))
        guard = memory.guard(app, accounts="key=token; team=body:metadata.team")
        played = await call(guard, raw, headers=bearer())
        assert (played.status, app.scopes) == (400, [])
        assert "metadata is longer than 65536 bytes" in played.json()["error"]["message"]

    @pytest.mark.parametrize(
        ("path", "fields", "held"),
        [
            # Each of 200,000 prompts may have an answer of one token.
            ("/v1/completions", b'"max_tokens": 1, "prompt": ', "at least 200"),
            # 2,000 searches.
            ("/v1/rerank", b'"documents": ', "at least 4"),
        ],
    )
    async def test_f58_many_prompts_are_many(self, memory, tmp_path, path, fields, held):
        prices = tmp_path / "p.toml"
        prices.write_text("[models.m]\ninput = 0\noutput = 1000\nrerank_search = 0.002\n")
        raw = b'{"model": "m", ' + fields + b"[" + b",".join([b'""'] * 200_000) + b"]}"
        guard = memory.guard(ScriptedApp(*completion(0)), limits="key=100000/month", prices=str(prices))
        played = await call(guard, raw, headers=bearer(), path=path)
        least = float(held.rpartition(" ")[2])
        assert least <= float(played.headers["x-budget-estimate-usd"]) <= 1.01 * least
