"""Endings in spool files outlive the version that wrote them: of the previous format, and of a newer one."""

import json
import re
from pathlib import Path

import pytest

from budget_middleware.core.model import Target
from budget_middleware.core.units import Amounts, Unit
from budget_middleware.core.verbs import Finalize, Release
from budget_middleware.ledger.endings.spool_file import SpoolFile
from budget_middleware.ledger.endings.spool_lines import SpooledEnding, from_line, to_line
from budget_middleware.stores.records.records import NewerFormat
from tests.stores.test_previous_format import PREVIOUS, TEAM, UPGRADE
from tests.stores.verbs import target

KEY = target(f"key:{'1f' * 8}", "1.00")

LONG_AGO_MS = 1_700_000_000_000


def test_spool_lines_of_the_previous_format_are_read():
    ended, released = map(from_line, PREVIOUS["spool"])
    assert isinstance(ended, SpooledEnding)
    assert isinstance(released, SpooledEnding)
    assert isinstance(ended.ending, Finalize)
    assert (ended.ending.targets, ended.ending.actual) == ((KEY, TEAM), Amounts(usd=200_000_000))
    assert isinstance(released.ending, Release)


def test_a_line_names_the_amount_of_each_unit():
    tokens = Target(KEY.account, KEY.window, 1_000, Unit.TOKENS)
    ending = SpooledEnding(Finalize("ab" * 16, (KEY, tokens), Amounts(usd=1, tokens=812)), LONG_AGO_MS)
    line = to_line(ending)
    assert json.loads(line)["actual"] == {"usd": "1", "tokens": "812"}
    assert from_line(line) == ending


def test_a_spool_line_of_a_newer_version_is_refused():
    line = json.loads(to_line(from_line(PREVIOUS["spool"][1])))  # type: ignore[arg-type]
    with pytest.raises(NewerFormat, match=UPGRADE):
        from_line(json.dumps(line | {"v": 3}))


def test_files_of_the_previous_format_are_taken_over(tmp_path: Path):
    """Their suffix is another: a gateway that is rolled back leaves ours alone, for it could not read them."""
    path = tmp_path / "1-0.endings"
    path.write_text("".join(PREVIOUS["spool"]))
    path.chmod(0o600)
    spool = SpoolFile(tmp_path)
    assert [each.ending.id for each in spool.adopt()] == ["ab" * 16, "0" * 32]
    spool.close()
    assert [each.suffix for each in tmp_path.iterdir()] == [".owed"]


def test_files_of_a_newer_version_are_left_for_it(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    ours = [to_line(each) for each in map(from_line, PREVIOUS["spool"]) if isinstance(each, SpooledEnding)]
    path = tmp_path / "1-0.owed"
    path.write_text("".join((ours[0], ours[1].replace('"v": 2', '"v": 3'))))
    path.chmod(0o600)
    spool = SpoolFile(tmp_path)
    assert spool.adopt() == spool.adopt() == []
    assert path.exists()
    (told,) = caplog.messages
    assert re.search(f"{path} cannot be taken over: it {UPGRADE}", told)
