"""`estimate`: what a request would hold, for people and for scripts."""

from budget_middleware.core.costs.learning import AnswerGroup, answer_seen, sums_of
from budget_middleware.stores.redis import RedisStore
from tests.cli.conftest import RunCli

KEY = "key:1f3a9c0b2d4e5f60"


async def test_what_was_learnt_is_shown_and_what_follows(cli: RunCli, store: RedisStore):
    seen = answer_seen(tokens=200, seconds=4, estimated=1_000, billed=1_000)
    assert seen is not None
    await store.learn({AnswerGroup("gpt-4o", KEY): sums_of([seen] * 995)})
    ran = cli("estimate", "gpt-4o", KEY, BUDGET_ESTIMATE="learned", BUDGET_DEFAULT_OUTPUT_TOKENS="200")
    assert (ran.code, ran.err) == (0, "")
    head, row, held = ran.out.splitlines()
    assert head.split()[:4] == ["model", "account", "answers", "mean_tokens"]
    assert row.split() == ["gpt-4o", KEY, "995", "200", "14", "50.0", "1.0", "0.0", "0.002", "0.00229"]
    assert held == (
        "held: $0.00229 for 229 tokens of output: 200 + 2 x 14 tokens, learnt from 995 answers of this account"
    )


def test_scripts_get_one_object(cli: RunCli):
    ran = cli("estimate", "gpt-4o", "--input", "1000", "--max-tokens", "100", "--json", BUDGET_ESTIMATE="learned")
    assert ran.json["held_usd"] == "0.0035"
    assert (ran.json["account"], ran.json["by"], ran.json["output_tokens"]) == (None, "asked", 100)


def test_a_model_without_a_price(cli: RunCli):
    ran = cli("estimate", "no-such-model")
    assert (ran.code, ran.out) == (1, "")
    assert len(ran.err.splitlines()) == 1


def test_a_token_is_no_account(cli: RunCli):
    ran = cli("estimate", "gpt-4o", "key:sk-canary")
    assert ran.code == 2
    assert "canary" not in ran.err
