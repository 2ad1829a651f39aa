"""`init`: a settings file that a shell reads, that all of us accept, and that never takes the place of another."""

import os
import re
import stat
import subprocess
from pathlib import Path

import pytest

from budget_middleware.databases.urls import parse_sqlite
from budget_middleware.settings import setting_docs
from budget_middleware.settings_loading import load
from tests.cli.conftest import RunCli


def variables_of(file: str, folder: Path) -> dict[str, str]:
    """What a shell that reads the file hands to the programs that it starts."""
    script = f"set -a; . {file}; set +a; exec env -0"
    shown = subprocess.run(["sh", "-euc", script], cwd=folder, env={"PATH": os.environ["PATH"]}, check=True, stdout=-1)
    pairs = [pair.split("=", 1) for pair in shown.stdout.decode().split("\0") if pair.startswith("BUDGET_")]
    return dict(pairs)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    inner = tmp_path / "it's a 'gate way' $HOME 50%"
    inner.mkdir()
    monkeypatch.chdir(inner)
    return inner


def test_a_shell_reads_what_is_set(cli: RunCli, folder: Path, monkeypatch: pytest.MonkeyPatch):
    ran = cli("init")
    assert (ran.code, ran.err) == (0, "")
    assert "  set -a; . ./budget.env; set +a\n" in ran.out
    variables = variables_of("./budget.env", folder)
    assert variables.keys() == {
        "BUDGET_STORE_URL",
        "BUDGET_LIMITS",
        "BUDGET_MODE",
        "BUDGET_TIMEZONE",
        "BUDGET_HASH_SECRET",
    }
    assert parse_sqlite(variables["BUDGET_STORE_URL"]).path == folder / "budget.db"
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert len(load().limits) == 2
    assert re.fullmatch(r"[0-9a-f]{64}", variables["BUDGET_HASH_SECRET"])


def test_every_setting_is_there_and_its_comment_can_be_taken_away(
    cli: RunCli, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    cli("init", "all.env")
    file = folder / "all.env"
    file.write_text(re.sub(r"^# (BUDGET_[A-Z_]+=)", r"\1", file.read_text(), flags=re.MULTILINE))
    variables = variables_of("./all.env", folder)
    docs = {doc.variable: doc for doc in setting_docs()}
    assert variables.keys() == docs.keys()
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    load()
    ours = {"BUDGET_STORE_URL", "BUDGET_LIMITS", "BUDGET_HASH_SECRET", "BUDGET_ADMIN_TOKEN"}
    assert {name for name, value in variables.items() if value != docs[name].default} == ours


def test_only_its_owner_reads_it_and_each_has_secrets_of_its_own(cli: RunCli, folder: Path):
    cli("init", "one.env")
    assert cli("init", "two.env", "--json").json == {"file": "two.env"}
    assert stat.S_IMODE((folder / "one.env").stat().st_mode) == 0o600
    secrets = [re.findall(r"'([0-9a-f]{64})'", (folder / name).read_text()) for name in ("one.env", "two.env")]
    assert len({secret for found in secrets for secret in found}) == 4


def test_no_file_is_overwritten(cli: RunCli, folder: Path):
    (folder / "budget.env").write_text("mine")
    ran = cli("init")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "budget-middleware: budget.env: it exists, and is not overwritten; nothing was written\n"
    assert (folder / "budget.env").read_text() == "mine"
    (folder / "away").symlink_to("nowhere")
    assert cli("init", "away").err == "budget-middleware: away: File exists\n"
    assert cli("init", "no/such/folder").err == "budget-middleware: no/such/folder: No such file or directory\n"
