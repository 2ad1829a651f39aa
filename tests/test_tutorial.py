"""The tutorial, run from its first block to its last: it prints what it shows."""

import os
import sys
from pathlib import Path

import pytest

from tests.tutorial import INSTALL, blocks, run, without_variables


@pytest.mark.processes
def test_every_block_prints_what_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    for variable in [name for name in os.environ if name.startswith("BUDGET_")]:
        monkeypatch.delenv(variable)
    n_shown = 0
    for block, printed in run(tmp_path):
        n_shown += bool(block.text)
        assert without_variables(printed).startswith(without_variables(block.text)), printed
    assert n_shown == sum(block.kind == "" for block in blocks())
    assert [block.kind for block in blocks()].count(INSTALL) == 1
