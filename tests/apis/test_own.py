"""A dialect of the user's own comes before the built-in ones, and no mistake in it reaches a client."""

import logging
from typing import Any

import pytest

from budget_middleware import BudgetMiddleware
from budget_middleware.apis import APIS, Ask, BadRequestError, JsonApi, Seen, Usage, ends_in
from budget_middleware.apis.protocol.ordinary import OrdinaryEvent
from budget_middleware.stores.memory.store import MemoryStore
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


def used(**counts: Any) -> Usage:
    """What a dialect may make of it by mistake."""
    return Usage(**counts)


# What it may say: of the answer, and of the request.
WRONG_SEEN = {
    "a negative count": lambda seen: seen.take_usage(used(output_tokens=-5)),
    "a float": lambda seen: seen.take_usage(used(output_tokens=7 / 4)),
    "NaN": lambda seen: seen.take_usage(used(input_tokens=float("nan"))),
    "a text": lambda seen: seen.take_usage(used(output_tokens="5")),
    "nothing": lambda seen: seen.take_usage(used(output_tokens=None)),
    "more than there is": lambda seen: seen.take_usage(used(output_tokens=10**30)),
    "no usage": lambda seen: seen.take_usage({"output_tokens": 5}),
    "a negative usage of another call": lambda seen: setattr(seen, "extra_calls", (("m", used(output_tokens=-5)),)),
    "other calls of another shape": lambda seen: setattr(seen, "extra_calls", [("m", None)]),
    "a cost in USD": lambda seen: seen.take_cost(0.5),
    "a cost that is too much": lambda seen: seen.take_cost(10**30),
    "less text than none": lambda seen: seen.take_text(-500),
    "a model that is no text": lambda seen: setattr(seen, "model", 5),
}
WRONG_ASK = {
    "input": used(input_tokens=1.5),
    "worst_input": used(input_tokens=-1),
    "max_output_tokens": 1.5,
    "thinking_tokens": -5,
    "choices": 0,
    "model": 5,
    "other_models": ("a", 5),
    "modes": None,
}


@pytest.mark.parametrize("tell", WRONG_SEEN.values(), ids=WRONG_SEEN)
@pytest.mark.parametrize(
    ("content_type", "body"), [("application/json", b"{}"), ("text/event-stream", b"data: {}\n\n")]
)
async def test_figures_that_are_none_reach_no_counter(content_type, body, tell, caplog):
    class Wrong(Words):
        def read_json(self, document, seen: Seen) -> None:
            tell(seen)

    caplog.set_level(logging.WARNING)
    answer, booked = await ask(*whole(body, content_type), api=Wrong())
    assert (answer.raised, answer.body) == (None, body)
    assert (booked, type(booked)) == (503 * 1_000_000, int)
    assert len([message for message in caplog.messages if message.startswith("apis: words")]) == 1


@pytest.mark.parametrize("name", WRONG_ASK)
async def test_a_request_with_such_figures_is_not_reserved(name):
    class Wrong(Words):
        def read_request(self, body, *, path, n_bytes, query=b"") -> Ask:
            ask = super().read_request(body, path=path, n_bytes=n_bytes, query=query)
            setattr(ask, name, WRONG_ASK[name])
            return ask

    answer, booked = await ask(*whole(b"{}"), api=Wrong())
    assert str(answer.raised).startswith(f"apis: words read a request of which {name}")
    assert booked == 0


async def test_ordinary_events_are_looked_at_too():
    class Half(OrdinaryEvent):
        half: int

        def add_to(self, seen: Seen) -> None:
            seen.take_usage(used(output_tokens=self.half / 2))

    class Halves(Words):
        ordinary_event = Half

    answer, booked = await ask(*whole(b'data: {"half": 7}\n\n' * 3, "text/event-stream"), api=Halves())
    assert (answer.raised, booked) == (None, 503 * 1_000_000)


async def test_a_usage_that_cannot_be_asked_for_is_not():
    class Shy(Words):
        def ask_for_usage(self, raw, body):
            raise KeyError("stream")

    answer, booked = await ask(*whole(b'{"answer": "three words here"}'), api=Shy())
    assert (answer.status, booked) == (200, 4_000_000)


async def test_what_cannot_be_passed_on_holds_nothing():
    class Odd(str):
        __slots__ = ()

        def startswith(self, *_):
            raise KeyError("x")

    class Unknown(Words):
        provider = Odd("me")

    answer, booked = await ask(*whole(b"{}"), api=Unknown())
    # `ask` waits until nothing is held.
    assert (type(answer.raised), booked) == (KeyError, 0)


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
