"""A field that comes twice in a body: most parsers take the last one, others the first, and some ignore case.

So nobody knows what the app, or who answers behind it, will read.
"""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budget_middleware.apis.bodies.repeated_fields import repeated_field, repeated_in_settings, repeated_within
from budget_middleware.testing import ScriptedApp, call
from tests.request.test_batch_requests import create, planned, upload
from tests.request.wire import bearer, completion

REST = '"max_tokens": 100, "messages": []'
TWICE = {
    "a cheap one first": '{"model": "gift", "model": "plain", %s}',
    "a cheap one last": '{"model": "plain", "model": "gift", %s}',
    "escaped": '{"mod\\u0065l": "plain", "model": "gift", %s}',
    "in capitals": '{"model": "gift", "Model": "plain", %s}',
    "in letters that fold": '{"model": "plain", "stream": false, "\u017ftream": true, %s}',
    "without blanks": '{"model":"plain","n":1,"n":9,%s}',
    "with as many blanks as make up for it": '{"model":"plain","n": 1,"n":9, %s}',
    "as long as one of each with the usual blanks": '{"model":"plain","x":1,"n":1,"n":9,%s}',
    "on lines": '{\n  "model": "plain",\n  "max_tokens": 1,\n  %s\n}',
    "in an object that decides": '{"model": "plain", "options": {"num_predict": 9, "num_predict": 1}, %s}',
    "in such an object among NaN": '{"model": "plain", "x": NaN, "session": {"model": 1, "model": 2}, %s}',
    "in the settings of a session": (
        '{"model": "plain", "session": {"audio": {"input": {"transcription": {"model": "a", "model": "b"}}}}, %s}'
    ),
    "in these among NaN": '{"model": "plain", "x": NaN, "session": {"audio": {"input": 1, "input": 2}}, %s}',
    "among NaN": '{"model": "plain", "x": NaN, "model": "gift", %s}',
    "in a long one": '{"model": "plain", "x": "' + "x" * 70_000 + '", "model": "gift", %s}',
}
ONCE = {
    "words that are names too": '{"model": "plain", "user": "model", "metadata": {"model": "user"}, %s}',
    "deeper objects": '{"model": "plain", "tools": [{"a": 1, "a": 2}], "x": {"y": {"z": 1, "Z": 1}}, %s}',
    "in a text": '{"model": "plain", "x": "\\"model\\": \\"gift\\"", %s}',
    "on lines": '{\n  "model" : "plain",\n  "x": {\n  },\n  %s\n}\n',
    "in other letters": '{"model": "plain", "mod\u00e9l": "plain", "generationConfig": {}, %s}',
}
# As nobody parses it: of so many values only the fields that decide are read.
HEAVY = ', "x": [' + "[]," * 80_000 + "0]"


async def asked(bench, text, **settings):
    app = ScriptedApp(*completion(0))
    body = (text % REST).encode() if isinstance(text, str) else text
    played = await call(bench.guard(app, **settings), body, headers=bearer())
    return played, app


@pytest.mark.parametrize("text", TWICE.values(), ids=TWICE)
async def test_a_field_that_comes_twice_is_refused(memory, text):
    played, app = await asked(memory, text)
    assert (played.status, app.scopes) == (400, [])
    assert "twice" in played.json()["error"]["message"]
    assert await memory.figures() == ("0.00", "0.00")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
async def test_so_it_is_in_every_encoding(memory, encoding):
    played, app = await asked(memory, (TWICE["a cheap one last"] % REST).encode(encoding))
    assert (played.status, app.scopes) == (400, [])


@pytest.mark.parametrize("text", ONCE.values(), ids=ONCE)
async def test_what_only_looks_like_it_passes_as_it_came(memory, text):
    played, app = await asked(memory, text)
    assert played.headers["x-budget-estimate-usd"] == "0.10"
    assert app.bodies == [(text % REST).encode()]


@pytest.mark.parametrize("name", ["a cheap one first", "a cheap one last", "escaped", "in capitals"])
async def test_a_heavy_body_that_names_its_model_twice_is_not_read(memory, name):
    played, app = await asked(memory, TWICE[name].replace("%s", REST + HEAVY).encode())
    assert (played.status, app.scopes) == (400, [])


@pytest.mark.parametrize(
    "more",
    ['"metadata": {"model": "gift"}', '"y": [{"model": 1, "Model": 2}]', '"y": "\\u0041\\\\u0041"', '"user": "model"'],
)
@pytest.mark.parametrize("blank", ["", " ", "\n"])
async def test_a_heavy_body_that_names_it_once_is_read(memory, more, blank):
    played, _ = await asked(memory, f'{{"model":{blank}"plain", {more}, {REST}{HEAVY}}}'.encode())
    assert (played.status, played.headers["x-budget-estimate-usd"][:3]) == (200, "0.1")


async def test_one_of_too_many_fields_that_may_do_so_is_not_read(memory):
    more = ', "x": [' + '{"a":1},' * 110_000 + '{"model": 1}]'
    played, app = await asked(memory, '{"model": "plain", %s' + more + "}")
    assert (played.status, app.scopes) == (400, [])
    assert "too many values" in played.json()["error"]["message"]


async def test_in_shadow_mode_it_is_metered_as_most_read_it(memory):
    played, _ = await asked(memory, TWICE["a cheap one first"], mode="shadow")
    assert (played.status, played.headers["x-budget-estimate-usd"]) == (200, "0.10")


async def test_a_call_of_a_batch_that_does_so_is_one_that_cannot_be_read(memory):
    lines = planned(600).replace(b'"model": "plain"', b'"model": "plain", "model": "gift"')
    await upload(memory, lines)
    await create(memory, job_estimate_usd="0.25")
    assert await memory.figures() == ("0.00", "0.25")


@pytest.mark.parametrize("blanks", [(",", ":"), (", ", ": "), (" ,\n", " :")])
def test_so_it_is_of_very_many_fields(blanks):
    fields = [(f"k{number}", "1") for number in range(2_000)]
    assert repeated_field(text_of(fields, blanks).encode()) == ""
    assert repeated_field(text_of([*fields, ("K1999", "1")], blanks).encode()) == "k1999"


def test_however_deep_an_event_is_it_is_read_in_linear_time():
    text = b'{"input":' * 20_000 + b"1" + b"}" * 20_000
    before_s = time.thread_time()
    for event in (text, text.replace(b"1", b"NaN")):
        assert repeated_in_settings(event) == ""
    assert time.thread_time() - before_s < 1


NAMES = st.sampled_from(["a", "A", "\u00e9", "s", "\u017f", "mod\\u0065l", "model"])
VALUES = st.sampled_from(["1", "12", '"a"', '"a\\": 1"', "[]", " {}", '{"a":1,"a":2}', "null "])
STYLES = st.sampled_from([(",", ":"), (", ", ": "), (",", ": "), (" ,\n", " :"), (",  ", ":")])


def text_of(fields, style):
    comma, colon = style
    return "{" + comma.join(f'"{name}"{colon}{value}' for name, value in fields) + "}"


def has_twice(text):
    """By the definition."""
    names = [name.casefold() for name, _ in json.loads(text, object_pairs_hook=list)]
    return len({*names}) < len(names)


@given(st.builds(text_of, st.lists(st.tuples(NAMES, VALUES), max_size=4), STYLES))
def test_it_is_seen_however_it_is_written(text):
    assert bool(repeated_field(text.encode())) == has_twice(text)
    assert bool(repeated_within(b'{"x":0, "within": ' + text.encode() + b"}", "within")) == has_twice(text)
    assert bool(repeated_in_settings(b'{"x":0, "audio": {"output": ' + text.encode() + b"}}")) == has_twice(text)
