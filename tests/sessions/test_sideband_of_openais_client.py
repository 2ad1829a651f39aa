"""OpenAI's own client calls around the gateway, watches the call at one worker, and hangs up at another."""

import asyncio
import time
from contextlib import ExitStack

import openai
import pytest

from budget_middleware.core.model import Balance
from tests.sessions.serving import served

pytestmark = pytest.mark.processes

# Twenty tokens a second at most.
SETTINGS = {"BUDGET_REALTIME_DIRECT": "hold", "BUDGET_REALTIME_DIRECT_S": "100", "BUDGET_LIMITS": "key=90/day"}


@pytest.fixture
def workers(tmp_path, server_url, namespace):
    """Two gateways in processes of their own, on one store."""
    with ExitStack() as stack:
        addresses = []
        for name in ("one", "other"):
            (tmp_path / name).mkdir()
            serving = served(
                "tests.sessions.sideband_gateway:app",
                "uvicorn, websockets",
                tmp_path / name,
                store_url=server_url,
                namespace=namespace,
                **SETTINGS,
            )
            addresses.append(f"http://{stack.enter_context(serving).address}/v1")
        yield addresses


async def test_f69_a_call_with_a_sideband_is_booked_once(workers, tokens_of):
    one, other = (openai.AsyncOpenAI(base_url=address, api_key="sk-one") for address in workers)
    async with one, other:
        began_s = time.monotonic()
        answer = await one.realtime.calls.with_raw_response.create(
            sdp="v=0\r\n", session={"type": "realtime", "model": "plain"}
        )
        call_id = answer.headers["location"].rpartition("/")[2]
        assert await tokens_of("sk-one") == Balance(reserved=2_000)
        async with other.realtime.connect(call_id=call_id) as sideband:
            assert (await sideband.recv()).type == "session.created"
            for words in ("a b c", "d e f g"):
                await sideband.response.create(response={"instructions": words})
                while (await sideband.recv()).type != "response.done":
                    pass
            await one.realtime.calls.hangup(call_id)
        ended_s = time.monotonic()
        async with asyncio.timeout(30):
            while (balance := await tokens_of("sk-one")).reserved:
                await asyncio.sleep(0.01)
        # What was said, and at most the time that this has taken.
        assert 7 <= balance.spent <= 8 + 20 * (ended_s - began_s)
        with pytest.raises(openai.NotFoundError):
            await one.realtime.calls.hangup("rtc_2")
