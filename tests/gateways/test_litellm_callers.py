"""Callers of the real LiteLLM proxy who spell their key or their path otherwise, and routes that it passes through."""

import json
import random
import subprocess
from collections.abc import Iterator
from uuid import uuid4

import httpx
import pytest

from budget_middleware.core.payers.accounts import key_id
from budget_middleware.demo.servers import EXAMPLES
from tests.gateways.running import HERE, PYTHON, REPOSITORY, Books, account_of, running

pytestmark = pytest.mark.gateways

QUESTION = {"model": "gpt-4o", "messages": [{"role": "user", "content": "two words"}], "max_tokens": 50}
COST_USD = "0.000205"
SPELLINGS = ["/.", "%3Fx", "%253Fx", "/x/%2e%2e", "/x/%252e%252e", "%23x", "//..", "/%2e/x/.%2e", ";x/%2e%2e/."]


@pytest.fixture(scope="module")
def gateway(upstream: str, books: Books, tmp_path_factory) -> Iterator[str]:
    env = {
        **books.env,
        # A key may ask about four questions at what they cost, and not one at what is reserved for it then.
        "BUDGET_LIMITS": "key=0.0011/day",
        "CONFIG_FILE_PATH": str(HERE / "litellm_config.yaml"),
        "LITELLM_MASTER_KEY": f"sk-{uuid4().hex}",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "UPSTREAM_V1_URL": f"{upstream}/v1",
        "UPSTREAM_API_KEY": "sk-upstream",
        # Where LiteLLM's own routes `/openai/…` pass requests on to.
        "OPENAI_API_BASE": upstream,
        "OPENAI_API_KEY": "sk-upstream",
    }
    with running("litellm_gateway:app", env=env, log=tmp_path_factory.mktemp("litellm") / "log") as address:
        yield address


def post(gateway: str, path: str, *, headers: list[tuple[str, str]], body=QUESTION) -> httpx.Response:
    # The path as it is written: httpx would normalise a text.
    url = httpx.URL(gateway).copy_with(raw_path=path.encode())
    return httpx.post(url, headers=headers, json=body, timeout=60)


def bearer(token: str) -> list[tuple[str, str]]:
    return [("authorization", f"Bearer {token}")]


async def test_what_litellm_passes_through_is_metered(gateway, books, token):
    answer = post(gateway, "/openai/v1/chat/completions", headers=bearer(token))
    assert answer.status_code == 200, answer.text
    assert await books.of(account_of(token)) == (COST_USD, "0.00")


@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_f42_however_its_path_is_spelled(gateway, books, token, spelling):
    """What LiteLLM's upstream answers is booked. What it does not find is held all the same, and costs nothing."""
    answer = post(gateway, f"/openai/v1/chat/completions{spelling}", headers=bearer(token))
    assert (await books.last_entry(account_of(token))).reservation_id
    if answer.status_code == 200:
        assert await books.of(account_of(token)) == (COST_USD, "0.00")


async def test_f42_a_spent_key_gets_nothing_by_another_spelling(gateway, token):
    assert spend(gateway, token) == 429
    for spelling in SPELLINGS:
        answer = post(gateway, f"/openai/v1/chat/completions{spelling}", headers=bearer(token))
        assert answer.status_code == 429, (spelling, answer.text)


def spend(gateway: str, token: str) -> int:
    """The status of the first request that is not served."""
    statuses = (post(gateway, "/v1/chat/completions", headers=bearer(token)).status_code for _ in range(12))
    return next((status for status in statuses if status != 200), 200)


CREDENTIALS = {
    "twice the scheme": lambda key, _: [("authorization", f"Bearer Bearer {key}")],
    "the scheme within the key": lambda key, _: [("authorization", f"Bearer {key[:5]}Bearer {key[5:]}")],
    "signed": lambda key, new: [
        ("authorization", f"AWS4-HMAC-SHA256 Credential=Bearer {key}/20250830/us-east-1/bedrock/aws4_request"),
        ("x-api-key", new),
    ],
    "signed in one word": lambda key, new: [("authorization", f"AWS4-HMAC-SHA256-{new}Credential={key}")],
    "in LiteLLM's own header": lambda key, new: [("authorization", f"Bearer {new}"), ("x-litellm-api-key", key)],
    "behind another header": lambda key, new: [("authorization", f"Bearer {key}"), ("x-api-key", new)],
}


@pytest.mark.parametrize("spell", CREDENTIALS.values(), ids=CREDENTIALS)
async def test_f40_a_spent_key_gets_nothing_however_it_is_spelled(gateway, token, spell):
    assert spend(gateway, token) == 429
    for _ in range(5):
        answer = post(gateway, "/v1/chat/completions", headers=spell(token, f"sk-{uuid4().hex}"))
        # LiteLLM's own parser reads the key in all of these, and so do we through it.
        assert (answer.status_code, answer.json()["error"]["code"]) == (429, "budget_exhausted"), answer.text
        assert account_of(token) in answer.text


# LiteLLM's parser, our example's and our own, over requests at random.

PIECES = [
    "Bearer ",
    "bearer ",
    "Basic ",
    "BEARER ",
    "AWS4-HMAC-SHA256 ",
    "AWS4-HMAC-SHA256",
    "Credential=",
    "KEY",
    "other",
]
PIECES += ["/20250830/x", ",", " ", "  ", "\t", "\xa0", "Token ", "Bearer KEY", "Bearer KEY", "KEY"]
NAMES = ["authorization", "authorization", "x-litellm-api-key", "api-key", "x-api-key", "x-goog-api-key"]
NAMES += ["ocp-apim-subscription-key", "Authorization"]
PATHS = ["/v1/chat/completions", "/openai/v1/chat/completions", "/v1beta/models/m:generateContent"]


def requests_at_random(count: int, seed: int) -> list[tuple[str, list[tuple[str, str]], str]]:
    draw = random.Random(seed)
    return [
        (
            draw.choice(PATHS),
            [
                (draw.choice(NAMES), "".join(draw.choices(PIECES, k=draw.choice((1, 1, 2, 2, 3)))))
                for _ in range(draw.choice((0, 1, 1, 1, 2, 3)))
            ],
            draw.choice(("", "", "key=KEY", "key=other", "key=other&key=KEY")),
        )
        for _ in range(count)
    ]


def test_our_reading_of_a_key_against_litellms_own():
    seed = random.randrange(10**9)
    asked = requests_at_random(3_000, seed)
    told = subprocess.run(
        [PYTHON, str(HERE / "litellm_readings.py")],
        env={"PYTHONPATH": f"{EXAMPLES}:{REPOSITORY}", "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
        input="\n".join(map(json.dumps, asked)),
        capture_output=True,
        check=False,
        text=True,
        timeout=250,
    )
    assert told.returncode == 0, told.stderr[-4000:]
    readings = [json.loads(line) for line in told.stdout.splitlines() if line.startswith("[")]
    assert len(readings) == len(asked)
    n_let_in = 0
    for request, (let_in, examples, own) in zip(asked, readings, strict=True):
        # The example reads what LiteLLM lets in, whatever it is.
        assert (examples or None) == let_in, (seed, request)
        if let_in == "KEY":
            n_let_in += 1
            # Without it we charge the same key or refuse; never a key that is new.
            assert own in ("KEY", "", None), (seed, request, own)
    assert n_let_in > 100, "the requests prove nothing"
    assert key_id("KEY") != key_id("other")
