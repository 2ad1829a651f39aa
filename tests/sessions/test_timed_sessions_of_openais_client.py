"""OpenAI's own client translates and talks live through a guard, on every server."""

import asyncio
import base64

import openai
import pytest
from websockets.exceptions import ConnectionClosed

from budget_middleware.core.model import Balance
from tests.sessions.serving import SERVERS, served

pytestmark = pytest.mark.processes

APP = "tests.sessions.timed_gateway:app"
# A cent a second: ten of what `serving` calls tokens.
PRICES = "audio_hour = 36\nallow_high_prices = true\n"
SOUND = base64.b64encode(bytes(48_000 * 3)).decode()


@pytest.fixture(params=SERVERS)
def gateway(request, tmp_path, server_url, namespace):
    (tmp_path / "by_time.toml").write_text(f"[models.interpreter]\n{PRICES}[models.host]\n{PRICES}")
    settings = {"BUDGET_PRICES": str(tmp_path / "by_time.toml")}
    with served(APP, request.param, tmp_path, store_url=server_url, namespace=namespace, **settings) as each:
        yield each.address


async def test_translations_and_live_sessions_are_booked_by_their_time(gateway, tokens_of):
    async with openai.AsyncOpenAI(base_url=f"http://{gateway}/v1", api_key="sk-one") as client:
        async with client.realtime.translations.connect(model="interpreter") as connection:
            assert (await connection.recv()).type == "session.created"
            for _ in range(2):
                await connection.session.input_audio_buffer.append(audio=SOUND)
                assert (await connection.recv()).type == "session.output_audio.delta"
            assert await tokens_of("sk-one") == Balance(reserved=300)
            await connection.session.close()
            assert (await connection.recv()).type == "session.closed"
        await settled(tokens_of, Balance(spent=60))

        async with client.live.connect() as connection:
            await connection.session.start(session={"model": "host"})
            assert (await connection.recv()).type == "session.started"
            await connection.session.input_audio.append(audio=SOUND)
            assert (await connection.recv()).type == "session.usage.updated"
            await connection.session.close()
            closed = await connection.recv()
            assert closed.type == "session.closed"
            assert closed.usage.seconds == 3
        await settled(tokens_of, Balance(spent=90))


async def settled(tokens_of, balance, key="sk-one"):
    async with asyncio.timeout(30):
        while await tokens_of(key) != balance:
            await asyncio.sleep(0.01)


async def test_a_session_ends_where_no_budget_carries_its_time(gateway, tokens_of):
    async with openai.AsyncOpenAI(base_url=f"http://{gateway}/v1", api_key="sk-two") as client:
        async with client.realtime.translations.connect(model="interpreter") as connection:
            assert (await connection.recv()).type == "session.created"
            for _ in range(25):
                await connection.session.input_audio_buffer.append(audio=SOUND)
                await connection.recv()
        # Of a dollar 75 cents are spent, and a slice is 30.
        await settled(tokens_of, Balance(spent=750), "sk-two")
        async with client.live.connect() as connection:
            await connection.session.start(session={"model": "host"})
            refused = await connection.recv()
            assert refused.type == "error"
            assert refused.error.code == "budget_exhausted"
            with pytest.raises(ConnectionClosed) as closed:
                await connection.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1008
    assert await tokens_of("sk-two") == Balance(spent=750)
