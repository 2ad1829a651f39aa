"""Clients that leave before the answer which creates a job: it runs on, and its results can be had by other ways."""

import asyncio

import pytest
from starlette.responses import StreamingResponse

from budget_middleware.testing import Gate, PlayedRequest, ScriptedApp, call, chunk, client_gone, json_answer, start
from tests.request.wire import bearer

PRICES = """
[models.plain]
input = 0
output = 1000
[models.film]
video_second = 0.01
"""
RESPONSE = {"id": "resp_1", "background": True, "model": "plain", "status": "queued"}
INTERACTION = {"id": "int_1", "status": "in_progress"}
SECRET = {"value": "ek_1", "session": {"id": "sess_1"}}
CONFIG = {"generation_config": {"max_output_tokens": 250}}
JOBS = {
    "a background response": (
        *("/v1/responses", {"model": "plain", "input": "x", "background": True, "max_output_tokens": 250}),
        RESPONSE,
    ),
    "an interaction": (
        "/v1beta/interactions",
        {"model": "plain", "input": "x", "background": True, **CONFIG},
        INTERACTION,
    ),
    "a deferred completion": (
        *("/v1/chat/completions", {"model": "plain", "messages": [], "deferred": True, "max_tokens": 250}),
        {"request_id": "r1"},
    ),
    "a batch": ("/v1/batches", {"input_file_id": "f"}, {"id": "batch_1"}),
    "a video": ("/v1/videos", {"model": "film", "prompt": "x", "seconds": "25"}, {"id": "v1", "status": "queued"}),
    "training": ("/v1/fine_tuning/jobs", {"model": "plain", "training_file": "f"}, {"id": "ft", "status": "queued"}),
    "a realtime session": ("/v1/realtime/client_secrets", {"session": {"type": "realtime"}}, SECRET),
}
"""Each is held at a quarter of a dollar."""
SETTINGS = {"job_estimate_usd": "0.25", "realtime_direct": "hold"}


@pytest.fixture
def prices(price_file):
    return price_file(PRICES)


def asks(kind, **leaving):
    path, body, _ = JOBS[kind]
    return PlayedRequest(body, path=path, headers=bearer(), **leaving)


class Proxy:
    """An app that streams what its upstream answers, as Starlette does: it ends when it hears that the client left."""

    def __init__(self, *pieces):
        self._pieces = pieces

    async def __call__(self, scope, receive, send):
        while (await receive()).get("more_body"):
            pass
        await StreamingResponse(self._send(), media_type="application/json")(scope, receive, send)

    async def _send(self):
        for piece in self._pieces:
            for _ in range(20):
                await asyncio.sleep(0)
            yield piece


@pytest.mark.parametrize("on_abort", ["partial", "release"])
@pytest.mark.parametrize("leaving", [{"leaves_after": 0}, {"breaks_after": 0}], ids=["heard", "by an error"])
@pytest.mark.parametrize("kind", JOBS)
async def test_the_app_goes_on_until_it_has_named_its_job(memory, kind, leaving, on_abort):
    answer = b"".join(message.get("body", b"") for message in json_answer(JOBS[kind][2]))
    await asks(kind, **leaving).run(memory.guard(Proxy(answer[:5], answer[5:]), on_abort=on_abort, **SETTINGS))
    assert await memory.figures() == ("0.00", "0.25")
    # A ticket, and no lease.
    (held,) = await memory.reader.holds()
    assert held.deadline_ms - held.created_ms > 3_000_000


@pytest.mark.parametrize(("on_abort", "spent"), [("partial", "0.25"), ("input", "0.25"), ("release", "0.00")])
@pytest.mark.parametrize("begun", [[], [start(200), chunk(b'{"id": "x')]], ids=["unanswered", "half answered"])
@pytest.mark.parametrize("kind", JOBS)
async def test_one_whose_server_ends_it_is_booked_at_its_estimate(memory, kind, begun, on_abort, spent):
    gate = Gate()
    guard = memory.guard(ScriptedApp(*begun, gate), on_abort=on_abort, **SETTINGS)
    request = asyncio.create_task(asks(kind).run(guard))
    await gate.reached()
    request.cancel()
    await asyncio.wait([request])
    assert await memory.figures() == (spent, "0.00")


@pytest.mark.parametrize("kind", JOBS)
async def test_an_upstream_that_cannot_be_reached_costs_nothing(memory, kind):
    await asks(kind).run(memory.guard(ScriptedApp(ConnectionError("refused")), **SETTINGS))
    assert await memory.figures() == ("0.00", "0.00")


async def test_who_leaves_a_call_of_his_own_is_heard_of(memory):
    body = {"model": "plain", "messages": [], "max_tokens": 250}
    await call(memory.guard(ScriptedApp(client_gone)), body, headers=bearer(), leaves_after=0)
    assert await memory.figures() == ("0.00", "0.00")
