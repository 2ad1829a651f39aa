"""The doctor and the admin API run in a gateway's event loop: files of thousands of lines are read beside it."""

import os
import time
from pathlib import Path

import pytest

from budget_middleware.opening import payers_of, price_book
from budget_middleware.operations.accounts import warnings_for
from budget_middleware.operations.doctor import examine
from budget_middleware.settings import Settings
from budget_middleware.settings_loading import load
from tests.operations.conftest import OpenContext
from tests.request.turns import longest_step_s

MANY = 3_000


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    accounts, prices = tmp_path / "accounts.toml", tmp_path / "prices.toml"
    accounts.write_text("".join(f'[keys."{number:016x}"]\nteam = "t{number}"\n' for number in range(MANY)))
    prices.write_text("".join(f'[models."m{number}"]\ninput = 1\noutput = 2\n' for number in range(MANY)))
    limits = "team=1/day; model:m1=1/day"
    return load(accounts="key=token", accounts_file=str(accounts), prices=str(prices), limits=limits)


async def test_the_doctor_reads_files_beside_the_loop(settings: Settings):
    started_s = time.thread_time()
    price_book(settings)
    reading_s = time.thread_time() - started_s
    findings, step_s = await longest_step_s(examine(os.environ, settings))
    assert {finding.check: finding.status for finding in findings}["limits"] == "ok"
    assert step_s < reading_s / 4


async def test_an_account_is_looked_up_beside_the_loop(settings: Settings, open_context: OpenContext):
    context = open_context(accounts="key=token", accounts_file=str(settings.accounts_file))
    started_s = time.thread_time()
    payers_of(settings)
    reading_s = time.thread_time() - started_s
    os.utime(str(settings.accounts_file))
    warnings, step_s = await longest_step_s(warnings_for("team:t1", context))
    assert warnings == ()
    assert step_s < reading_s / 4
