"""OpenAI's own client, a guarded gateway in a process of its own, and another one behind it, over one real store."""

from contextlib import ExitStack

import openai
import pytest

from budget_middleware.core.model import Balance
from budget_middleware.stores.redis import RedisStore
from tests.sessions.serving import served, tokens_in

pytestmark = pytest.mark.processes


@pytest.fixture
def gateway(tmp_path, server_url, namespace):
    shared = {"store_url": server_url, "namespace": namespace, "BUDGET_HASH_SECRET": "secret"}
    with ExitStack() as stack:
        upstream = ""
        for name in ("responses_gateway", "passing_gateway"):
            directory = tmp_path / name
            directory.mkdir()
            serving = served(
                f"tests.sessions.{name}:app", "uvicorn, websockets", directory, UPSTREAM=upstream, **shared
            )
            upstream = stack.enter_context(serving).address
        yield f"http://{upstream}/v1"


async def events_to(connection, kind):
    """The events up to the first of a type."""
    events = []
    async for event in connection:
        events.append(event)
        if event.type == kind:
            break
    return events


async def test_responses_of_openais_client_are_booked_once(gateway, server_url, namespace):
    store = RedisStore(server_url, namespace=namespace, timeout_s=5)
    tokens_of_key = tokens_in(store, secret="secret")
    async with (
        openai.AsyncOpenAI(base_url=gateway, api_key="sk-one") as client,
        client.responses.connect() as connection,
    ):
        for words in ("a b c", "a b c d"):
            await connection.response.create(model="plain", input=words, max_output_tokens=300)
            events = await events_to(connection, "response.completed")
            assert events[0].type == "response.created"
            assert not any("x_budget_reservation" in event.model_dump() for event in events)
        assert await tokens_of_key("sk-one") == Balance(spent=7)
        # Both guards hold what it may come to, and the inner one has no room for that; its error ends both calls.
        await connection.response.create(model="plain", input="a", max_output_tokens=600)
        (refused,) = await events_to(connection, "error")
        assert (refused.status, refused.error.code) == (429, "budget_held")
        assert await tokens_of_key("sk-one") == Balance(spent=7)
    await store.aclose()
