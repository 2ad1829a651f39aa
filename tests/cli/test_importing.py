"""`import litellm`: what it prints, what it writes, and what it leaves alone."""

import json
import shlex
import sys
from pathlib import Path

import pytest

from budget_middleware.core.limits.grammar import parse_limits
from tests.cli.conftest import RunCli
from tests.operations import litellm_exports as proxy
from tests.operations.litellm_exports import key

CONFIG = "litellm_settings: {max_budget: 100, budget_duration: 1d}\n"


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    return str(path)


@pytest.fixture
def export(tmp_path: Path) -> list[str]:
    texts = {"config.yaml": proxy.CONFIG, **proxy.as_csv()}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    return [str(tmp_path / name) for name in texts]


def test_people_get_each_part_under_its_name(cli: RunCli, config: str):
    ran = cli("import", "litellm", config)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines() == [
        "# BUDGET_LIMITS",
        "# 1d is day: LiteLLM resets it at midnight",
        "global=100/day",
        "",
        "# BUDGET_ACCOUNTS_FILE",
        "",
        "# Run once, after LiteLLM has stopped counting",
        "",
        "# Not mapped: 0",
        "",
    ]


def test_scripts_get_one_object(cli: RunCli, config: str):
    found = cli("import", "litellm", config, "--json").json
    assert found == {
        "settings": {},
        "durations": [{"duration": "1d", "period": "day", "why": "LiteLLM resets it at midnight"}],
        "limits": [
            {
                "account": "global",
                "limit": "100/day",
                "where": f"{config} line 1: litellm_settings: max_budget",
                "note": "",
            }
        ],
        "keys": [],
        "commands": [],
        "unmapped": [],
    }


def test_a_gateway_starts_with_the_files_that_are_written(cli: RunCli, export: list[str], tmp_path: Path):
    limits, accounts, commands = (tmp_path / name for name in ("limits", "accounts.toml", "carry-over.sh"))
    ran = cli(
        "import", "litellm", *export, "--limits", str(limits), "--accounts", str(accounts), "--commands", str(commands)
    )
    assert ran.code == 1
    assert ran.err == "budget-middleware: not mapped, and so not limited here: 11 things; see the list\n"
    assert f"# written to {limits}" in ran.out
    assert parse_limits(limits.read_text())
    assert commands.read_text().startswith("budget-middleware ")
    settings = {"BUDGET_LIMITS": f"@{limits}", "BUDGET_ACCOUNTS_FILE": str(accounts)}
    listed = cli("status", "--json", **settings).json
    assert {(row["account"], row["period"]) for row in listed} >= {(key("alice"), "month"), ("team:search", "month")}


def test_what_was_spent_is_booked_by_the_commands(cli: RunCli, tmp_path: Path):
    """In windows without a name, so that it does not matter when this test runs."""
    spent = {"team:a": ("30d", "412.0000001"), "team:b c": ("36h", "7.25"), "team:d": (None, "3.00")}
    rows = [
        {"team_id": account[5:], "team_alias": "", "max_budget": 500, "budget_duration": duration, "spend": usd}
        for account, (duration, usd) in spent.items()
    ]
    export, limits = tmp_path / "teams.json", tmp_path / "limits"
    export.write_text(json.dumps(rows))
    found = cli("import", "litellm", str(export), "--limits", str(limits), "--json").json
    settings = {"BUDGET_LIMITS": f"@{limits}", "BUDGET_ACCOUNTS": "team=state:team"}
    for command in found["commands"]:
        program, *words = shlex.split(command)
        assert program == "budget-middleware"
        ran = cli(*words, **settings)
        assert (ran.code, ran.err) == (0, ""), command
    counters = cli("journal", "--json", **settings).out.splitlines()
    booked = {(row["account"], row["spent_delta_usd"]) for row in map(json.loads, counters)}
    assert booked == {(account.replace(" ", "%20"), usd) for account, (_, usd) in spent.items()}


def test_an_increase_is_set_by_its_command(cli: RunCli, tmp_path: Path):
    metadata = {"temp_budget_increase": 50, "temp_budget_expiry": "2990-12-24T00:00:00"}
    row = {"token": proxy.hashed("alice"), "max_budget": 100, "budget_duration": "36h", "metadata": metadata}
    export, limits = tmp_path / "LiteLLM_VerificationToken.json", tmp_path / "limits"
    export.write_text(json.dumps([row]))
    (command,) = cli("import", "litellm", str(export), "--limits", str(limits), "--json").json["commands"]
    ran = cli(*shlex.split(command)[1:], BUDGET_LIMITS=f"@{limits}")
    assert (ran.code, ran.err) == (0, "")
    (listed,) = cli("limit", "list", "--json").json
    assert (listed["account"], listed["period"]) == (key("alice"), "36h")
    assert "50.00" in json.dumps(listed)


def test_no_file_is_overwritten(cli: RunCli, config: str, tmp_path: Path):
    limits, accounts = tmp_path / "limits", tmp_path / "accounts.toml"
    accounts.write_text("# mine\n")
    ran = cli("import", "litellm", config, "--limits", str(limits), "--accounts", str(accounts))
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == f"budget-middleware: {accounts}: it exists, and is not overwritten; nothing was written\n"
    assert not limits.exists()
    assert accounts.read_text() == "# mine\n"


def test_with_a_secret_it_says_that_keys_cannot_be_mapped(cli: RunCli, export: list[str]):
    ran = cli("import", "litellm", *export, BUDGET_HASH_SECRET="s")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("budget-middleware: BUDGET_HASH_SECRET is set")
    assert len(ran.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("content", "says"), [(None, "No such file or directory"), (b"\xff\xfe", "it is not text in UTF-8")]
)
def test_a_file_that_cannot_be_read_is_named(cli: RunCli, tmp_path: Path, content: bytes | None, says: str):
    path = tmp_path / "config.yaml"
    if content is not None:
        path.write_bytes(content)
    ran = cli("import", "litellm", str(path))
    assert (ran.code, ran.out, ran.err) == (2, "", f"budget-middleware: {path}: {says}\n")


def test_without_the_extra_yaml_says_what_to_install(cli: RunCli, config: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "yaml", None)
    ran = cli("import", "litellm", config)
    assert (ran.code, ran.out) == (2, "")
    assert "pip install 'budget-middleware[import]'" in ran.err


def test_an_export_needs_no_extra(cli: RunCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "yaml", None)
    path = tmp_path / "LiteLLM_TeamTable.json"
    path.write_text(json.dumps([{"team_id": "search", "max_budget": 5}]))
    assert "team:search=5/total" in cli("import", "litellm", str(path)).out.splitlines()
