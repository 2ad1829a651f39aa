"""The handle in `scope["state"]["budget"]`: what the app adds is booked besides what the answer tells."""

import asyncio

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from budget_middleware import BudgetHandle
from budget_middleware.core.statuses import Op
from budget_middleware.testing import Gate, PlayedRequest, ScriptedApp, call, client_gone, event, json_answer
from tests.request.wire import DONE, LAST, STREAM_START, TALK, ask, bearer, completion, usage_event, words


class Adding:
    """An app that adds to its handle before it plays its script; `handles` are those that it found."""

    def __init__(self, *script, usd="0.05"):
        self._app = ScriptedApp(*script)
        self._usd = usd
        self.handles: list[BudgetHandle] = []

    async def __call__(self, scope, receive, send):
        self.handles.append(scope["state"]["budget"])
        self.handles[-1].add_cost(self._usd)
        await self._app(scope, receive, send)


@pytest.mark.parametrize(
    ("script", "spent"),
    [
        pytest.param(completion(100), "0.15", id="usage"),
        pytest.param(json_answer({"error": {}}, status=503), "0.05", id="clean error"),
        pytest.param([OSError("upstream")], "0.05", id="exception before output"),
        pytest.param([], "0.05", id="no answer at all"),
    ],
)
async def test_what_is_added_is_booked_besides_the_answers_own(bench, script, spent):
    app = Adding(*script)
    played = await call(bench.guard(app), ask(100), headers=bearer())
    assert await bench.figures() == (spent, "0.00")
    assert await bench.ops() == [Op.RESERVE, Op.FINALIZE]
    if played.status:
        assert app.handles[0].reservation_id == played.headers["x-budget-reservation-id"]


async def test_zeros_beside_a_text_say_that_all_is_added(bench):
    """As an agent's own route answers. Where nothing is added, zeros beside a text are no usage (F52)."""
    await call(bench.guard(Adding(*completion(0, "all done"))), ask(100), headers=bearer())
    assert await bench.figures() == ("0.05", "0.00")


async def test_the_client_is_told_the_whole_cost(memory):
    played = await call(memory.guard(Adding(*completion(100))), ask(100), headers=bearer())
    assert played.headers["x-budget-cost-usd"] == "0.15"


async def test_a_client_that_leaves_pays_what_was_seen_and_what_was_added(bench):
    sent = [STREAM_START, *words(100)]
    guard = bench.guard(Adding(*sent, client_gone))
    await call(guard, TALK, headers=bearer(), leaves_after=len(sent))
    assert await bench.figures() == ("0.22", "0.00")


async def test_a_cancelled_request_pays_what_was_added(bench):
    gate = Gate()
    played = PlayedRequest(TALK, headers=bearer())
    task = asyncio.create_task(played.run(bench.guard(Adding(gate))))
    await gate.reached()
    task.cancel()
    await asyncio.wait([task])
    assert await bench.figures() == ("0.05", "0.00")


@pytest.mark.parametrize("on_abort", ["release", "drain"])
async def test_what_is_added_is_booked_under_every_policy(bench, on_abort):
    guard = bench.guard(Adding(asyncio.CancelledError()), on_abort=on_abort)
    await call(guard, TALK, headers=bearer())
    assert await bench.figures() == ("0.05", "0.00")


async def test_usage_is_priced_by_the_book(bench):
    async def agent(scope, receive, send):
        budget = scope["state"]["budget"]
        for _ in range(3):
            budget.add_usage("talk", input_tokens=10, output_tokens=100)
        await ScriptedApp(*completion(0))(scope, receive, send)

    await call(bench.guard(agent), ask(100), headers=bearer())
    # Three times ten thousandths and a hundred times .0012; the answer's explicit zeros cost nothing.
    assert await bench.figures() == ("0.39", "0.00")


@pytest.mark.parametrize(
    ("add", "told"),
    [
        (lambda budget: budget.add_cost("-1"), "a cost is 0 or more"),
        (lambda budget: budget.add_cost(0.1), "not an amount in USD"),
        (lambda budget: budget.add_cost("nan"), "not an amount in USD"),
        (lambda budget: budget.add_usage("nobody-knows-it", input_tokens=1), "has no price here"),
        (lambda budget: budget.add_usage("plain", output_tokens=-1), "output_tokens=-1: accepted"),
        (lambda budget: budget.add_usage("plain", output_tokens=True), "output_tokens=True: accepted"),
    ],
)
async def test_what_cannot_be_added_is_told_and_not_booked(memory, add, told):
    async def app(scope, receive, send):
        with pytest.raises(ValueError, match=told):
            add(scope["state"]["budget"])
        await ScriptedApp(*completion(100))(scope, receive, send)

    assert (await call(memory.guard(app), ask(100), headers=bearer())).raised is None
    assert await memory.figures() == ("0.10", "0.00")


async def test_after_the_ending_nothing_can_be_added(memory):
    app = Adding(STREAM_START, *words(1), event(usage_event(100)), DONE, LAST)
    await call(memory.guard(app), {**TALK, "model": "plain"}, headers=bearer())
    with pytest.raises(RuntimeError, match="has ended"):
        app.handles[0].add_cost("1")
    assert await memory.figures() == ("0.15", "0.00")


class TestState:
    async def test_a_scope_without_state_gets_one(self, memory):
        app = Adding(*completion(100))
        played = await call(memory.guard(app), ask(100), headers=bearer())
        assert played.is_complete
        assert "state" not in played.scope

    async def test_the_requests_own_state_stays_readable_outside(self, memory):
        """As Starlette's `request.state` is, which is this dictionary."""
        state = {"client": "http"}

        async def app(scope, receive, send):
            scope["state"]["user"] = "alice"
            await Adding(*completion(100))(scope, receive, send)

        await call(memory.guard(app), ask(100), headers=bearer(), scope={"state": state})
        assert state["user"] == "alice"

    async def test_a_state_that_requests_share_never_mixes_them_up(self, memory):
        """Some servers copy it for each request, as ASGI asks for; this one does not."""
        shared: dict[str, object] = {"client": "http"}
        gates = {"0.01": Gate(), "0.02": Gate()}
        started = asyncio.Event()

        async def app(scope, receive, send):
            if scope["type"] == "lifespan":
                await send({"type": "lifespan.startup.complete"})
                return
            usd = dict(scope["headers"])[b"x-usd"].decode()
            await gates[usd].wait()
            assert scope["state"]["client"] == "http"
            await Adding(*completion(0), usd=usd)(scope, receive, send)

        guard = memory.guard(app, limits="key=1/month; key=1/day")
        living = set()
        for is_told in (False, True):
            if is_told:
                shared.pop("budget", None)
                live = guard({"type": "lifespan", "state": shared}, _never, _telling(started))
                living.add(asyncio.create_task(live))
                await started.wait()
            calls = [
                PlayedRequest(ask(1), headers={**bearer(), "x-usd": usd}, scope={"state": shared}) for usd in gates
            ]
            tasks = [asyncio.create_task(played.run(guard)) for played in calls]
            for gate in gates.values():
                await gate.reached()
            for gate in gates.values():
                gate.open()
            await asyncio.gather(*tasks)
            assert [played.headers["x-budget-cost-usd"] for played in calls] == list(gates)
        assert "budget" not in shared, "the lifespan's own state holds nobody's handle"
        for task in living:
            task.cancel()
        await asyncio.wait(living)

    async def test_switched_off_there_is_a_handle_that_books_nothing(self, memory):
        app = Adding(*completion(100))
        guard = memory.guard(app, mode="off")
        assert (await call(guard, ask(100), headers=bearer())).raised is None
        assert await memory.figures() == ("0.00", "0.00")
        assert "state" not in (await call(guard, {}, path="/v1/files", headers=bearer())).scope

    async def test_starlette_shows_it_as_request_state(self, memory):
        def fall_back(request: Request) -> JSONResponse:
            # A plain function runs in a thread.
            request.state.budget.add_usage("plain", output_tokens=50)
            return JSONResponse({"choices": [], "usage": {"prompt_tokens": 0, "completion_tokens": 100}})

        app = Starlette(routes=[Route("/v1/chat/completions", fall_back, methods=["POST"])])
        assert (await call(memory.guard(app), ask(100), headers=bearer())).status == 200
        assert await memory.figures() == ("0.15", "0.00")


async def _never():
    await asyncio.Event().wait()


def _telling(started):
    async def send(message):
        started.set()

    return send
