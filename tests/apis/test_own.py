"""A dialect of the user's own comes before the built-in ones, and no mistake in it reaches a client."""

import logging

import pytest

from budget_middleware import BudgetMiddleware
from budget_middleware.apis import APIS, Ask, BadRequestError, JsonApi, Seen, Usage, ends_in
from budget_middleware.stores.memory import MemoryStore
from budget_middleware.testing import ScriptedApp, call, chunk, start


class Words(JsonApi):
    """Costs a token for each word."""

    name = "words"
    provider = "me"
    path = ends_in("/words|/v1/messages")
    input_fields = ("question",)

    def read_request(self, body, *, path, n_bytes, query=b"") -> Ask:
        ask = super().read_request(body, path=path, n_bytes=n_bytes, query=query)
        ask.model, ask.max_output_tokens = "my-model", 500
        return ask

    def read_json(self, document, seen: Seen) -> None:
        seen.take_text(len(document["answer"]))
        seen.take_usage(Usage(input_tokens=1, output_tokens=len(document["answer"].split())))


HEADERS = {"authorization": "Bearer sk-one"}


async def ask(*script, path="/words", api=None, **settings):
    """The answer, the guard, and what was booked in nano-dollars."""
    store = MemoryStore()
    settings = {"limits": "key=1/day", "unknown_model": "1000/1000", **settings}
    guard = BudgetMiddleware(ScriptedApp(*script), store=store, apis=[api or Words()], **settings)
    answer = await call(guard, {"question": "How much?"}, path=path, headers=HEADERS)
    await guard.ledger.drain()
    return answer, sum(view.balance.spent for view in await store.counters())


def whole(body: bytes, content_type="application/json"):
    return start(content_type=content_type), chunk(body, is_last=True)


@pytest.mark.parametrize("path", ["/words", "/any/prefix/words/", "/v1/messages"])
async def test_its_routes_are_metered_by_it_and_go_before_built_in_ones(path):
    answer, booked = await ask(*whole(b'{"answer": "three words here"}'), path=path)
    assert answer.status == 200
    assert booked == 4_000_000


async def test_a_route_of_nobody_is_not_metered():
    _, booked = await ask(*whole(b'{"answer": "three words here"}'), path="/other")
    assert booked == 0


async def test_in_shadow_mode_too_it_refuses_what_allows_no_estimate_at_all():
    class Strict(Words):
        def read_request(self, body, *, path, n_bytes, query=b"") -> Ask:
            raise BadRequestError("nobody can say what this costs")

    answer, booked = await ask(*whole(b'{"answer": "a"}'), api=Strict(), mode="shadow")
    assert (answer.status, booked) == (400, 0)
    assert b"nobody can say what this costs." in answer.body


async def test_a_refusal_has_its_shape():
    class Curt(Words):
        def error_body(self, refusal):
            return {"no": refusal.message[:6]}

    answer, _ = await ask(*whole(b"{}"), api=Curt(), limits="key=0.000001/day")
    assert answer.status == 429
    assert answer.body == b'{"no": "The bu"}'


@pytest.mark.parametrize(
    ("content_type", "body"),
    [("application/json", b'{"unlike": "what was expected"}'), ("text/event-stream", b'data: {"answer": 7}\n\n' * 2)],
)
async def test_a_mistake_in_it_costs_the_reading_and_not_the_answer(content_type, body, caplog):
    caplog.set_level(logging.WARNING)
    answer, booked = await ask(*whole(body, content_type))
    assert answer.body == body
    # What was not read is not free: it costs what was estimated.
    assert booked >= 500 * 1_000_000
    told = [record.message for record in caplog.records if "apis: words raised" in record.message]
    assert len(told) == 1
    assert "unlike" not in told[0]


class NoReader:
    name, provider = "half", "me"
    matches = read_request = ask_for_usage = error_body = read_event = print
    ordinary_event = ordinary_answer = None


def with_name(name):
    return type("Words", (Words,), {"name": name})()


@pytest.mark.parametrize(
    ("apis", "told"),
    [
        (Words(), "apis: Words; accepted is a list of objects"),
        ("words", "apis: str; accepted is a list of objects"),
        ([Words], "apis: Words is a class; accepted is a list of objects"),
        ([7], "apis: int has no name, provider, matches, read_request"),
        ([NoReader()], "apis: NoReader has no read_json; accepted is a list of objects"),
        ([with_name("")], "apis: Words.name is ''; accepted is a text that is not empty"),
        ([with_name(APIS[0].name)], "apis: the name 'openai-chat' is taken by another dialect"),
        ([Words(), Words()], "apis: the name 'words' is taken by another dialect"),
        ([type("Odd", (Words,), {"ordinary_event": dict})()], "apis: Odd.ordinary_event is no class that derives from"),
        ([type("Odd", (Words,), {"read_json": 7})()], "apis: Odd.read_json is no method"),
    ],
)
async def test_what_is_no_dialect_is_told_in_one_line(apis, told, caplog):
    caplog.set_level(logging.ERROR)
    guard = BudgetMiddleware(ScriptedApp(*whole(b"{}")), apis=apis)
    assert caplog.messages[0].startswith(told)
    assert "\n" not in caplog.messages[0]
    # Nothing passes unmetered while a setting is wrong.
    answer = await call(guard, {"model": "gpt-4o"}, path="/v1/chat/completions", headers=HEADERS)
    assert answer.status == 500
