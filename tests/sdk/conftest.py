"""One gateway for all SDKs, as a real server process."""

from collections.abc import Callable, Iterator

import httpx
import pytest

from tests.e2e.servers import free_port, uvicorn_worker, wait_for_port

# 1 USD a million tokens of output, a thousandth of one for a search: an estimate is the maximum in micro-dollars.
PRICES = """
[models."test-model"]
input = 0
output = 1
rerank_search = 0.001
[models."free-model"]
input = 0
output = 0
[models."dear-model"]
image = 0.2
audio_hour = 60
[models.painter]
image = 0.04
[models.film]
video_second = 0.01
[models.dear-film]
video_second = 0.5
[models."fine-tuning/pupil"]
training = 1000
hold_at_most = 0.4
[models."batches/answerer"]
call = 0.01
hold_at_most = 0.5
"""


@pytest.fixture(scope="session")
def gateway_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("sdk")
    (folder / "prices.toml").write_text(PRICES)
    env = {"BUDGET_PRICES": str(folder / "prices.toml"), "BUDGET_LIMITS": "key=1/day", "BUDGET_STORE_URL": "memory://"}
    port, log = free_port(), folder / "gateway.log"
    with uvicorn_worker("tests.sdk.provider:app", listen=["--port", str(port)], env=env, log=log) as process:
        wait_for_port(port, process, log)
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def requests_of(gateway_url: str) -> Callable[[str], int]:
    """How many requests of a key have reached the gateway, refused ones included."""
    return lambda key: int(httpx.get(f"{gateway_url}/count", params={"key": key}).text)


@pytest.fixture
def left_of(gateway_url: str) -> Callable[[str], str]:
    """What is left of a key's budget of a dollar, by the header of one more request, which is free."""

    def left(key: str) -> str:
        body = {"model": "free-model", "query": "x", "documents": []}
        answer = httpx.post(f"{gateway_url}/v1/rerank", json=body, headers={"authorization": f"Bearer {key}"})
        return answer.headers["x-budget-remaining-usd"]

    return left
