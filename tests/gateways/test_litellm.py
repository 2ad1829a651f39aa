"""The LiteLLM proxy as it comes, with our line in front and the example provider behind it."""

import json
import subprocess
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from uuid import uuid4

import anthropic
import openai
import pytest

from budget_middleware.core.money import usd_from_nanos
from budget_middleware.core.payers.accounts import key_id
from budget_middleware.demo.servers import EXAMPLES
from tests.gateways.running import HERE, PYTHON, Books, account_of, running

# It takes half a minute to start where two cores serve everybody.
pytestmark = pytest.mark.gateways

# Two words at 2.50 USD and the answer's twenty at 10 USD per million tokens; a fraction of that for `fast`.
COST_USD = {"gpt-4o": "0.000205", "fast": "0.0000123", "house": "0.000042"}
LIMIT_USD = Decimal("0.02")
LONG = [{"role": "user", "content": "word " * 100}]


@pytest.fixture(scope="module")
def gateway(upstream: str, books: Books, tmp_path_factory) -> Iterator[str]:
    env = {
        **books.env,
        "BUDGET_LIMITS": f"key={LIMIT_USD}/day",
        "CONFIG_FILE_PATH": str(HERE / "litellm_config.yaml"),
        "LITELLM_MASTER_KEY": f"sk-{uuid4().hex}",
        # Its price list is asked for over the internet otherwise, three times.
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "UPSTREAM_V1_URL": f"{upstream}/v1",
        "UPSTREAM_API_KEY": "sk-upstream",
    }
    with running("litellm_gateway:app", env=env, log=tmp_path_factory.mktemp("litellm") / "log") as address:
        yield address


@pytest.fixture
def client(gateway: str, token: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{gateway}/v1", api_key=token, max_retries=0) as client:
        yield client


def ask(client, model="gpt-4o", **more):
    question = {"role": "user", "content": "two words"}
    return client.chat.completions.with_raw_response.create(model=model, messages=[question], **more)


@pytest.mark.parametrize("model", COST_USD)
async def test_a_whole_answer_costs_what_litellm_reports(client, books, token, model):
    answer = ask(client, model)
    assert answer.parse().usage.completion_tokens == 20
    reported = Decimal(answer.headers["x-litellm-response-cost"])
    assert abs(reported - Decimal(COST_USD[model])) < Decimal("1e-12"), "a float, exact enough"
    assert answer.headers["x-budget-cost-usd"] == COST_USD[model]
    assert await books.of(account_of(token)) == (COST_USD[model], "0.00")


@pytest.mark.parametrize("model", COST_USD)
@pytest.mark.parametrize("wants_usage", [False, True])
async def test_a_stream_costs_what_its_usage_says(client, books, token, model, wants_usage):
    options = {"stream_options": {"include_usage": True}} if wants_usage else {}
    chunks = list(ask(client, model, stream=True, **options).parse())
    words = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices).split()
    assert len(words) == 20
    assert any(chunk.usage for chunk in chunks) is wants_usage
    assert await books.of(account_of(token)) == (COST_USD[model], "0.00")


@pytest.mark.parametrize(
    "hiding",
    [
        {"additional_drop_params": ["stream_options"]},
        {"extra_body": {"stream_options": {"include_usage": False}}},
    ],
    ids=["left out", "overridden"],
)
async def test_a_stream_that_tells_litellm_to_hide_its_usage_costs_it_all_the_same(client, books, token, hiding):
    list(ask(client, stream=True, extra_body=hiding).parse())
    assert await books.of(account_of(token)) == (COST_USD["gpt-4o"], "0.00")
    assert (await books.last_entry(account_of(token))).reason.startswith("usage")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_cheap_name_that_falls_back_costs_what_answers(client, books, token, stream):
    """LiteLLM names the model that was asked in its answer, and who has answered in its headers."""
    answer = ask(client, "falls", stream=stream)
    if stream:
        list(answer.parse())
    assert answer.headers["x-litellm-model-group"] == "gpt-4o"
    assert answer.headers["x-litellm-attempted-fallbacks"] == "1"
    assert await books.of(account_of(token)) == (COST_USD["gpt-4o"], "0.00")


async def test_anthropics_client(gateway, books, token):
    """LiteLLM reports no cost here: the usage at the price of the model behind the alias."""
    with anthropic.Anthropic(base_url=gateway, api_key=token, max_retries=0) as client:
        message = client.messages.create(
            model="canned", max_tokens=50, messages=[{"role": "user", "content": "two words"}]
        )
    assert [block.type == "text" and block.text for block in message.content] == ["word"]
    spent = Decimal(message.usage.input_tokens) + 5 * message.usage.output_tokens
    assert await books.of(account_of(token)) == (usd_from_nanos(int(spent * 1_000)), "0.00")


async def test_a_response(client, books, token):
    answer = client.responses.with_raw_response.create(model="canned", input="two words", max_output_tokens=50)
    assert answer.parse().output_text == "word"
    reported = Decimal(answer.headers["x-litellm-response-cost"])
    assert reported > 0
    assert answer.headers["x-budget-cost-usd"] == usd_from_nanos(round(reported * 10**9))
    assert (await books.of(account_of(token)))[1] == "0.00"


async def test_a_client_that_leaves_mid_stream(client, books, token):
    stream = ask(client, stream=True, max_tokens=1_000, extra_body={"messages": LONG}).parse()
    for _ in range(6):
        next(stream)
    stream.close()
    spent, reserved = await books.of(account_of(token))
    assert reserved == "0.00"
    # The whole would have been 0.0102500.
    assert Decimal("0.00004") < Decimal(spent) < Decimal("0.005")


async def test_a_spent_key(client, books, token):
    with pytest.raises(openai.RateLimitError) as refused:
        ask(client, max_tokens=3_000)
    assert refused.value.code == "budget_exhausted"
    assert refused.value.response.headers["x-should-retry"] == "false"
    assert "x-litellm-version" not in refused.value.response.headers, "LiteLLM has not seen it"
    ask(client)
    assert await books.of(account_of(token)) == (COST_USD["gpt-4o"], "0.00")


async def test_f46_litellm_takes_the_model_of_the_query(client, books, token):
    """So it is what is reserved: 3,000 tokens fit at the price of the body's model, not at the query's."""
    dearer = {"extra_query": {"model": "gpt-4o"}}
    with pytest.raises(openai.RateLimitError) as refused:
        ask(client, "fast", max_tokens=3_000, **dearer)
    assert refused.value.code == "budget_exhausted"
    answer = ask(client, "fast", **dearer)
    assert answer.headers["x-budget-cost-usd"] == COST_USD["gpt-4o"]
    assert await books.of(account_of(token)) == (COST_USD["gpt-4o"], "0.00")


async def test_what_litellm_refuses_costs_nothing(gateway, books, token):
    with (
        openai.OpenAI(base_url=f"{gateway}/v1", api_key=f"no-{token}", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError),
    ):
        ask(client)
    assert await books.of(account_of(f"no-{token}")) == ("0.00", "0.00")


async def test_a_model_that_litellm_does_not_know_has_no_price(client):
    with pytest.raises(openai.BadRequestError, match="'unheard-of' has no price here"):
        ask(client, "unheard-of")


TEAMS = """
import asyncio, json, sys
from types import SimpleNamespace
import litellm_gateway
from litellm.proxy import proxy_server
from litellm.proxy.utils import hash_token

class Keys:
    async def find_first(self, *, where):
        kept = {hash_token("sk-of-alice"): SimpleNamespace(team_id="search", user_id="alice"),
                hash_token("sk-of-nobody"): SimpleNamespace(team_id=None, user_id=None)}
        return next((row for token, row in kept.items() if token.startswith(where["token"]["startswith"])), None)

async def told():
    without_database = await litellm_gateway.accounts_of(sys.argv[1])
    proxy_server.prisma_client = SimpleNamespace(db=SimpleNamespace(litellm_verificationtoken=Keys()))
    return [without_database, *[await litellm_gateway.accounts_of(key) for key in sys.argv[1:]]]

print(json.dumps(asyncio.run(told())))
"""


def test_a_keys_team_is_the_one_of_litellms_database():
    """LiteLLM's hash of a key begins with the subject that we have for it."""
    keys = [key_id(token) for token in ("sk-of-alice", "sk-of-nobody", "sk-unknown")]
    told = subprocess.run(
        [PYTHON, "-c", TEAMS, *keys],
        env={"PYTHONPATH": str(EXAMPLES), "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
        capture_output=True,
        check=True,
        text=True,
    )
    assert json.loads(told.stdout.splitlines()[-1]) == [None, {"team": "search", "user": "alice"}, {}, {}]


def test_litellms_database_has_what_the_example_asks_of_it():
    """The stand-in above is as good as its likeness to the schema that LiteLLM comes with."""
    find = "from importlib.util import find_spec; print(find_spec('litellm').origin)"
    found = subprocess.run([PYTHON, "-c", find], capture_output=True, check=True, text=True)
    schema = (Path(found.stdout.strip()).parent / "proxy" / "schema.prisma").read_text("utf-8")
    _, table = schema.split("model LiteLLM_VerificationToken {")
    columns = [line.split()[:2] for line in table.partition("\n}")[0].splitlines() if line.strip()]
    for column in (["token", "String"], ["team_id", "String?"], ["user_id", "String?"]):
        assert column in columns
