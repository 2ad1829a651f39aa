"""`price` and `key-id`."""

import pytest

from budget_middleware.core.costs.pricing import UsageClass
from budget_middleware.core.costs.usage import FIELD_BY_PIECE
from budget_middleware.core.payers.accounts import key_id
from budget_middleware.operations.bills import _sold_by
from tests.cli.conftest import RunCli

CANARY = "sk-canary-0123456789"
OF_EACH_LINE = {"per": "1M tokens", "source": "BUDGET_PRICES", "model": "my-model"}


@pytest.fixture
def prices(price_file) -> str:
    return price_file('[models."my-model"]\ninput = 1\noutput = 4\ncached_input = 0.1\ncache_write = 0.0015\n')


def test_a_price_line_by_line(cli: RunCli, prices: str):
    words = (
        "price",
        "my-model",
        "--input",
        "1000",
        "--output",
        "333",
        "--cached",
        "900",
        "--reasoning",
        "33",
    )
    assert cli(*words, BUDGET_PRICES=prices).out == (
        "my-model (own price)\n"
        "unit          count  rate_usd  per             usd  source\n"
        "input           100      1.00  1M tokens  0.0001    BUDGET_PRICES\n"
        "cached_input    900      0.10  1M tokens  0.00009   BUDGET_PRICES\n"
        "output          300      4.00  1M tokens  0.0012    BUDGET_PRICES\n"
        "reasoning        33      4.00  1M tokens  0.000132  BUDGET_PRICES\n"
        "sum                                       0.001522\n"
    )
    assert cli(*words, "--json", BUDGET_PRICES=prices).json == {
        "model": "my-model",
        "provider": None,
        "lines": [
            {"unit": unit, "count": count, "usd_per_million": rate, "rate_usd": rate, "usd": usd, **OF_EACH_LINE}
            for unit, count, rate, usd in (
                ("input", 100, "1.00", "0.0001"),
                ("cached_input", 900, "0.10", "0.00009"),
                ("output", 300, "4.00", "0.0012"),
                ("reasoning", 33, "4.00", "0.000132"),
            )
        ],
        "amounts": [],
        "omitted": {"lines": 0, "usd": "0.00"},
        "rounding_usd": "0.00",
        "cost_usd": "0.001522",
        "sources": ["BUDGET_PRICES"],
        "note": None,
    }


def test_what_is_booked_is_rounded_to_the_nano_dollar(cli: RunCli, prices: str):
    ran = cli("price", "my-model", "--input", "1", "--output", "0", "--cache-write", "1", BUDGET_PRICES=prices)
    _, _, line, rounding, total = ran.out.splitlines()
    assert line.split() == ["cache_write", "1", "0.0015", "1M", "tokens", "0.0000000015", "BUDGET_PRICES"]
    # Half-even to the nano-dollar; the table comes to exactly what is booked.
    assert rounding.split() == ["rounding", "0.0000000005"]
    assert total.split() == ["sum", "0.000000002"]


def test_whatever_has_tokens_in_it_is_shown_by_the_million():
    by_the_piece = {unit for unit in UsageClass if _sold_by(unit)[1] == "each"}
    assert by_the_piece == {*FIELD_BY_PIECE, UsageClass.REQUEST} - {
        UsageClass.CHARACTER,
        UsageClass.AUDIO_MS,
        UsageClass.VIDEO_MS,
        UsageClass.TRAINING,
        UsageClass.TRAINING_MS,
    }
    assert _sold_by(UsageClass.INPUT_VIDEO) == (1_000_000, "1M tokens")
    assert _sold_by("of a later version") == (1, "each")


@pytest.mark.parametrize("words", [(), ("gpt-4o",), ("gpt-4o", "--input", "1"), ("--input", "1", "--output", "1")])
def test_too_little_is_told_in_a_line(cli: RunCli, words: tuple[str, ...]):
    ran = cli("price", *words)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "budget-middleware: price needs MODEL, --input and --output; or --answer FILE\n"


def test_an_unknown_model_costs_what_the_setting_says(cli: RunCli):
    words = ("price", "no-such-model", "--input", "1000", "--output", "1000")
    rejected = cli(*words)
    assert (rejected.code, rejected.out) == (1, "")
    assert rejected.err == (
        "budget-middleware: no-such-model has no price: BUDGET_UNKNOWN_MODEL=reject answers 400 where a limit"
        " binds the request, else books 0; give it a price in BUDGET_PRICES, or set BUDGET_UNKNOWN_MODEL to"
        " IN/OUT\n"
    )
    priced = cli(*words, BUDGET_UNKNOWN_MODEL="2/8")
    assert (priced.code, priced.out.splitlines()[-1].split()) == (0, ["sum", "0.01"])
    assert priced.out.startswith("no-such-model is not in the price book; BUDGET_UNKNOWN_MODEL prices it\n")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--cached", "6", "--cache-write", "5"), "--cached and --cache-write cannot exceed --input"),
        (("--audio-in", "11"), "--audio-in cannot exceed --input"),
        (("--reasoning", "3", "--audio-out", "3"), "--reasoning and --audio-out cannot exceed --output"),
    ],
)
def test_parts_are_within_their_whole(cli: RunCli, words: tuple[str, ...], line: str):
    ran = cli("price", "gpt-4o", "--input", "10", "--output", "5", *words)
    assert (ran.code, ran.err) == (2, f"budget-middleware: {line}, which includes them\n")


@pytest.mark.parametrize("text", [CANARY, f"{CANARY}\n", f"{CANARY}\r\n", f"Bearer {CANARY}\n", f"bearer {CANARY}"])
def test_the_account_of_a_token(cli: RunCli, text: str):
    ran = cli("key-id", stdin=text)
    assert (ran.code, ran.out, ran.err) == (0, f"key:{key_id(CANARY)}\n", "")
    assert cli("key-id", "--json", stdin=text).json == {"account": f"key:{key_id(CANARY)}"}


def test_the_account_of_a_token_under_a_secret(cli: RunCli):
    ran = cli("key-id", stdin=CANARY, BUDGET_HASH_SECRET="pepper")
    assert ran.out == f"key:{key_id(CANARY, secret='pepper')}\n"


@pytest.mark.parametrize("text", ["", "\n", f"{CANARY}\n\n", f"{CANARY}\nmore", f"Digest {CANARY}"])
def test_what_is_no_token_is_refused_and_never_repeated(cli: RunCli, text: str):
    ran = cli("key-id", stdin=text)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == ("budget-middleware: stdin holds no token; accepted is one line, TOKEN or 'Bearer TOKEN'\n")
