"""`prices check` and `prices explain`."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import RunCli

NAMES = """
gpt-4o            # a comment
anthropic.claude-sonnet-4-5-20250929-v1:0 aws

nobody-has-it
gpt-4o
"""


@pytest.fixture
def names(tmp_path: Path) -> str:
    path = tmp_path / "names.txt"
    path.write_text(NAMES)
    return str(path)


@pytest.fixture
def own(tmp_path: Path) -> str:
    path = tmp_path / "own.toml"
    path.write_text('[models."gpt-4o"]\ninput = 2.54\noutput = 20\n')
    return str(path)


def test_what_has_no_price_and_what_differs(cli: RunCli, names: str, own: str):
    ran = cli("prices", "check", names, BUDGET_PRICES=own)
    assert ran.code == 1
    # 2.54 is within 2 % of 2.50.
    assert ran.out == (
        "no price: nobody-has-it\n"
        "name    unit    usd_per_million  source         other_usd_per_million  other_source  other_is_percent\n"
        "gpt-4o  output            20.00  BUDGET_PRICES                  10.00  genai-prices                50\n"
        "2 of 3 names have a price; 1 rates differ by more than 2 %\n"
    )
    assert cli("prices", "check", names, "--json", BUDGET_PRICES=own).json == {
        "names": 3,
        "unpriced": ["nobody-has-it"],
        "differences": [
            {
                "name": "gpt-4o",
                "unit": "output",
                "usd_per_million": "20.00",
                "source": "BUDGET_PRICES",
                "other_usd_per_million": "10.00",
                "other_source": "genai-prices",
                "other_is_percent": 50,
            }
        ],
    }


def test_all_is_well_and_names_may_come_on_stdin(cli: RunCli):
    ran = cli("prices", "check", "-", stdin="gpt-4o\ntext-embedding-3-small\n")
    assert (ran.code, ran.out) == (0, "2 of 2 names have a price; 0 rates differ by more than 2 %\n")


@pytest.mark.parametrize(
    ("text", "told"),
    [(None, "No such file"), ("a b c\n", "line 1: accepted are a name"), ("\n" * 100_001, "accepted are at most")],
)
def test_a_file_that_is_none_is_one_line(cli: RunCli, tmp_path: Path, text: str | None, told: str):
    path = tmp_path / "names.txt"
    if text is not None:
        path.write_text(text)
    ran = cli("prices", "check", str(path))
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert told in ran.err


def test_the_rule_and_the_source_of_each_rate(cli: RunCli):
    ran = cli("prices", "explain", "azure/eu/gpt-4o-2024-08-06")
    assert (ran.code, ran.err) == (0, "")
    # Then the service tiers, as far as they differ.
    assert ran.out.startswith(
        "azure/eu/gpt-4o-2024-08-06 is gpt-4o (azure)\n"
        "rule: the prefix azure/; region eu +10 %\n"
        "unit            above_tokens  mode      usd_per_million  source\n"
        "input                      -  -                  2.75    genai-prices\n"
        "cached_input               -  -                  1.375   genai-prices\n"
        "output                     -  -                 11.00    genai-prices\n"
        "web_search                 -  -              10000.00    genai-prices\n"
        "file_search                -  -               2500.00    genai-prices\n"
        "code_container             -  -              33000.00    built-in gaps\n"
        "input                      -  priority           4.675   genai-prices\n"
    )
    told = cli("prices", "explain", "azure/eu/gpt-4o-2024-08-06", "--json").json
    assert (told["model"], told["provider"], told["rule"]) == (
        "gpt-4o",
        "azure",
        "the prefix azure/; region eu +10 %",
    )
    assert told["rates"][0] == {
        "unit": "input",
        "above_tokens": None,
        "mode": None,
        "usd_per_million": "2.75",
        "source": "genai-prices",
    }


def test_an_own_price_and_the_others_that_do_not_count(cli: RunCli, own: str):
    told = cli("prices", "explain", "GPT-4o", "--json", BUDGET_PRICES=own).json
    assert {rate["source"] for rate in told["rates"]} == {"BUDGET_PRICES"}
    assert [(other["source"], other["output_usd_per_million"]) for other in told["others"]] == [
        ("genai-prices", "10.00")
    ]


def test_the_map_of_an_installed_litellm_is_read(process: RunCli, tmp_path: Path):
    package = tmp_path / "litellm"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    entry = {"litellm_provider": "openai", "input_cost_per_token": 3e-06, "output_cost_per_token": 1e-05}
    (package / "model_prices_and_context_window_backup.json").write_text(json.dumps({"gpt-4o": entry}))
    words = ("prices", "explain", "gpt-4o", "--json")
    told = process(*words, PYTHONPATH=str(tmp_path)).json
    assert {rate["unit"]: rate["source"] for rate in told["rates"] if rate["mode"] is None} == {
        "input": "LiteLLM",
        "output": "LiteLLM",
        "cached_input": "genai-prices",
        "web_search": "genai-prices",
        "file_search": "genai-prices",
        "code_container": "built-in gaps",
        "training": "built-in gaps",
    }
    left_out = process(*words, PYTHONPATH=str(tmp_path), BUDGET_LITELLM_PRICES="off").json
    assert {rate["source"] for rate in left_out["rates"]} == {"genai-prices", "built-in gaps"}


def test_a_name_without_a_price(cli: RunCli):
    ran = cli("prices", "explain", "ollama/llama3.3")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == (
        "budget-middleware: ollama/llama3.3 has no price in any source: give it one in BUDGET_PRICES, or name the"
        " provider that serves it, as in groq/NAME\n"
    )
