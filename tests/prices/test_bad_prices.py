"""Price files that cannot be meant: the server does not start, commands end with 2, each with one line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from budget_middleware import BudgetMiddleware, SettingsError
from budget_middleware.cli import main
from budget_middleware.core.costs.pricing import Rates, UsageClass
from budget_middleware.core.money import nanos_from_usd
from budget_middleware.operations.doctor.finding import Health
from budget_middleware.operations.doctor.settings import prices_finding
from budget_middleware.prices import load_prices
from budget_middleware.settings_loading import load
from budget_middleware.testing import ScriptedApp

MODEL = '[models."m"]\n'
MAP = '{"m": {"input_cost_per_token": %s, "output_cost_per_token": 0.00001}}'

TOO_HIGH = (
    "model 'm': input is '2500000'; accepted is a number of 0 to 2000, in USD per 1000000,"
    " and up to 9000000 beside allow_high_prices = true"
)
SEARCH = '{"m": {"input_cost_per_token": 0, "output_cost_per_token": 0, "search_context_cost_per_query": %s}}'
# name of the file: what is in it, and what is told of it
BAD = {
    "negative.toml": (
        f"{MODEL}input = -2.5\noutput = 10",
        "model 'm': input is '-2.5'; accepted is a number of 0 to 2000",
    ),
    "per_token_for_per_million.toml": (
        f"{MODEL}input = 2500000\noutput = 10",
        TOO_HIGH,
    ),
    "beyond_all.toml": (
        f"{MODEL}allow_high_prices = true\ninput = 9000001\noutput = 10",
        "a number of 0 to 9000000, in",
    ),
    "nan.toml": (f"{MODEL}input = nan\noutput = 10", "input is 'NaN'"),
    "inf.toml": (f"{MODEL}input = inf\noutput = 10", "input is 'Infinity'"),
    "minus_inf.toml": (f"{MODEL}input = -inf\noutput = 10", "input is '-Infinity'"),
    "text.toml": (f'{MODEL}input = "2.5"\noutput = 10', "input is '2.5'; accepted is a number"),
    "boolean.toml": (f"{MODEL}input = true\noutput = 10", "input is 'True'"),
    "list.toml": (f"{MODEL}input = [2.5]\noutput = 10", "accepted is a number of 0 to 2000"),
    "1e400.toml": (f"{MODEL}input = 1e400\noutput = 10", "input is '1E+400'; accepted is a number of 0 to 2000"),
    "2_to_63.toml": (f"{MODEL}input = 9223372036854775808\noutput = 10", "input is '9223372036854775808'"),
    "digits.toml": (f"{MODEL}input = {'9' * 5000}\noutput = 10", "Exceeds the limit"),
    "hour.toml": (
        f"{MODEL}audio_hour = 3600",
        "audio_hour is '3600'; accepted is a number of 0 to 72, in USD per 3600000",
    ),
    "search.toml": (
        f"{MODEL}input = 1\noutput = 1\nweb_search = 35",
        "web_search is '35'; accepted is a number of 0 to 2,",
    ),
    "flag.toml": (
        f'{MODEL}allow_high_prices = "yes"\ninput = 1\noutput = 1',
        "allow_high_prices is 'yes'; accepted is true",
    ),
    "mode.toml": (
        f"{MODEL}input = 1\noutput = 1\n[models.m.fast]\ninput = 60000",
        "fast.input is '60000'; accepted is a",
    ),
    "twice.toml": (f"{MODEL}input = 1\noutput = 1\n{MODEL}input = 2\noutput = 1", "it stands in lines 1 and 4"),
    "field_twice.toml": (f"{MODEL}input = 1\noutput = 1\ninput = 2\nimage = 1", "Cannot overwrite a value (at line 4"),
    "capitals.toml": (
        f"{MODEL}input = 1\noutput = 1\n[models.M]\ninput = 2\noutput = 1",
        "models 'm' (line 1) and 'M' (line 4) are one name with two prices; accepted is one of them",
    ),
    "negative.json": (
        MAP % "-1e-6",
        "model 'm': input_cost_per_token is '-0.000001'; accepted is a number of 0 to 0.002",
    ),
    "per_million_for_per_token.json": (
        MAP % "2.5",
        "input_cost_per_token is '2.5'; accepted is a number of 0 to 0.002, in USD per 1, and up to 9 beside",
    ),
    "nan.json": (MAP % "NaN", "input_cost_per_token is 'NaN'"),
    "inf.json": (MAP % "Infinity", "input_cost_per_token is 'Infinity'"),
    "text.json": (MAP % '"0.0000025"', "input_cost_per_token is '0.0000025'; accepted is a number"),
    "boolean.json": (MAP % "true", "input_cost_per_token is 'True'"),
    "1e400.json": (MAP % "1e400", "input_cost_per_token is '1E+400'"),
    "2_to_63.json": (MAP % "9223372036854775808", "input_cost_per_token is '9223372036854775808'"),
    "search.json": (
        SEARCH % '{"search_context_size_high": -1}',
        "search_context_size_high is '-1'",
    ),
    "twice.json": (
        '{"m": {"input_cost_per_query": 1},\n"n": {"input_cost_per_query": 1},\n"m": {"input_cost_per_query": 2}}',
        "'m' is given twice, as {'input_cost_per_query': 1} and as {'input_cost_per_query': 2}, in lines 1 and 3;",
    ),
    "field_twice.json": (
        '{"m": {"input_cost_per_query": 1, "input_cost_per_query": 2}}',
        "model 'm': 'input_cost_per_query' is given twice, as 1 and as 2; accepted is one of them",
    ),
    "capitals.json": (
        '{"m": {"input_cost_per_query": 1},\n"M": {"input_cost_per_query": 2}}',
        "models 'm' (line 1) and 'M' (line 2) are one name with two prices",
    ),
    # Maps of other shapes: a list, OpenRouter's models, our own fields, one more level.
    "list.json": (
        '[{"model": "m", "input_cost_per_token": 0.1}]',
        'accepted is an object of models, as in {"MODEL": {',
    ),
    "text_alone.json": ('"prices"', "accepted is an object of models"),
    "null.json": ("null", "accepted is an object of models"),
    "openrouter.json": ('{"data": [{"id": "m", "pricing": {"prompt": "0.000001"}}]}', "model 'data': its value is"),
    "our_fields.json": (
        '{"m": {"input": 2.5, "output": 10}}',
        "none of its entries has a known price; accepted is as",
    ),
    "nested.json": (
        '{"models": {"m": {"input_cost_per_token": 1e-6}}}',
        "none of its entries has a known price",
    ),
    "cut.json": ('{"m": {"input_cost_per_token": 1e-6', "cut.json: "),
    "empty.json": ("", "empty.json: "),
    "other.yaml": ("m:\n  input: 2.5\n", "other.yaml: "),
    "other.csv": ("model,input,output\nm,2.5,10\n", "other.csv: "),
    "depth.json": ("[" * 100_000, "depth.json: "),
}


@pytest.fixture(params=BAD)
def bad(request, tmp_path: Path, monkeypatch) -> tuple[Path, str]:
    text, told = BAD[request.param]
    path = tmp_path / request.param
    path.write_text(text)
    monkeypatch.setenv("BUDGET_PRICES", str(path))
    return path, told


async def test_the_server_does_not_start(bad):
    path, told = bad
    sent = []

    async def receive():
        return {"type": "lifespan.startup"}

    async def send(message):
        sent.append(message)

    with pytest.raises(SettingsError):
        await BudgetMiddleware(ScriptedApp())({"type": "lifespan", "asgi": {"version": "3.0"}}, receive, send)
    (failed,) = sent
    assert failed["type"] == "lifespan.startup.failed"
    assert failed["message"].startswith(f"BUDGET_PRICES='{path}': ")
    assert told in failed["message"]
    assert "\n" not in failed["message"]
    assert len(failed["message"]) < len(str(path)) * 2 + 500


def test_a_command_ends_with_2(bad, capsys):
    told = bad[1]
    assert main(["price", "gpt-4o", "--input", "1", "--output", "1"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert told in err
    assert len(err.splitlines()) == 1


@pytest.mark.processes
def test_a_real_server_ends_with_one_line_and_no_traceback(tmp_path):
    path = tmp_path / "prices.toml"
    path.write_text(BAD["per_token_for_per_million.toml"][0])
    (tmp_path / "gateway.py").write_text(
        "from budget_middleware import BudgetMiddleware\n"
        "from budget_middleware.testing import ScriptedApp\n"
        "app = BudgetMiddleware(ScriptedApp())\n"
    )
    ran = subprocess.run(
        [sys.executable, "-m", "uvicorn", "gateway:app", "--app-dir", str(tmp_path), "--port", "0"],
        env={**os.environ, "PYTHONPATH": str(Path.cwd()), "BUDGET_PRICES": str(path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    told = ran.stdout + ran.stderr
    assert ran.returncode != 0
    assert TOO_HIGH in told
    assert "Traceback" not in told


HIGH = {
    "high.toml": f"{MODEL}allow_high_prices = true\ninput = 2500000\noutput = 10",
    "high.json": '{"m": {"allow_high_prices": true, "input_cost_per_token": 2.5, "output_cost_per_token": 0.00001}}',
}


@pytest.mark.parametrize("name", HIGH)
def test_who_means_a_high_price_can_say_so(tmp_path, name):
    path = tmp_path / name
    path.write_text(HIGH[name])
    (rates,) = load_prices(path).values()
    assert isinstance(rates, Rates)
    assert rates.of(UsageClass.INPUT).nanos_per_million == nanos_from_usd("2500000")


UNLIKELY = {
    "per token": (
        f"{MODEL}input = 0.0000025\noutput = 10",
        "'m': input is 0.0000025 USD per million, which looks like",
    ),
    "per token, the most expensive": (f"{MODEL}input = 1\noutput = 0.0006", "'m': output is 0.0006 USD per million"),
    "a pattern": ('[models."gpt-*"]\ninput = 1\noutput = 1', "'gpt-*' has a price of its own, and stands for no other"),
    "a pattern for a name": ('[models."gpt-*"]\nsame_as = "gpt-4o"', "'gpt-*' has a price of its own"),
}


@pytest.mark.parametrize(("text", "warning"), UNLIKELY.values(), ids=UNLIKELY)
def test_what_can_hardly_be_meant_is_told(tmp_path, caplog, text, warning):
    path = tmp_path / "prices.toml"
    path.write_text(text)
    BudgetMiddleware(ScriptedApp(), prices=str(path))
    (told,) = [message for message in caplog.messages if message.startswith("BUDGET_PRICES")]
    assert warning in told
    finding = prices_finding(load(prices=str(path)))
    assert (finding.status, warning in finding.message) == (Health.WARN, True)


def test_what_can_be_meant_is_not_told(tmp_path, caplog):
    path = tmp_path / "prices.toml"
    path.write_text(f"{MODEL}input = 0.001\noutput = 0\ncached_input = 0.0001")
    BudgetMiddleware(ScriptedApp(), prices=str(path))
    assert "BUDGET_PRICES" not in caplog.text
    assert prices_finding(load(prices=str(path))).status is Health.OK


def test_minus_0_is_0(tmp_path):
    path = tmp_path / "prices.toml"
    path.write_text(f"{MODEL}input = -0\noutput = -0.0")
    (rates,) = load_prices(path).values()
    assert isinstance(rates, Rates)
    assert rates.is_free


def test_entries_of_a_map_that_are_not_known_are_left_out_beside_others(tmp_path):
    path = tmp_path / "map.json"
    path.write_text('{"ocr": {"ocr_cost_per_page": 0.1}, "m": {"input_cost_per_query": 0.1}, "sample_spec": "text"}')
    assert list(load_prices(path)) == ["m"]
