"""OpenAI's agents SDK talks through a guard: its answers are booked, and it understands each way to be refused."""

import asyncio
import os
from pathlib import Path

import pytest

from budget_middleware.core.model import Balance
from tests.sessions.serving import served

pytestmark = pytest.mark.agents

APP = "tests.sessions.realtime_gateway:app"
CLIENT = Path(__file__).with_name("agents_client.py")
SERVERS = ("uvicorn, websockets", "hypercorn")


async def talk(url, instructions):
    """What an agent with these instructions says of its session."""
    # -P: the folder of the program has a module `socket`.
    command = [os.environ["AGENTS_PYTHON"], "-P", str(CLIENT), url, "sk-one", instructions]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    told, _ = await process.communicate()
    assert process.returncode == 0
    return told.decode().splitlines()


@pytest.mark.parametrize("server", SERVERS)
async def test_an_agent_is_booked_and_refused(server, tmp_path, server_url, namespace, tokens_of):
    settings = {"BUDGET_ESTIMATE": "expected", "BUDGET_DEFAULT_OUTPUT_TOKENS": "600"}
    with served(APP, server, tmp_path, store_url=server_url, namespace=namespace, **settings) as gateway:
        url = f"ws://{gateway.address}/v1/realtime?model=plain"
        assert (await talk(url, "word " * 450))[-1].strip() == "agent_end"
        await settled(tokens_of, Balance(spent=450))
        # A response is held at 600, of which 550 are left: an error of the API, and the session goes on.
        assert (await talk(url, "a b"))[-1].split() == ["error", "budget_exhausted"]
        assert await tokens_of("sk-one") == Balance(spent=450)


async def settled(tokens_of, balance):
    async with asyncio.timeout(30):
        while await tokens_of("sk-one") != balance:
            await asyncio.sleep(0.01)


async def test_a_spent_key_is_told_at_the_handshake(tmp_path, server_url, namespace):
    settings = {"store_url": server_url, "namespace": namespace, "BUDGET_LIMITS": "key=0/day"}
    with served(APP, SERVERS[0], tmp_path, **settings) as gateway:
        url = f"ws://{gateway.address}/v1/realtime?model=plain"
        assert await talk(url, "a b") == ["refused 429"]
