"""Endings that wait for the store: how many may, and what is left of them when their process dies."""

import json
import multiprocessing
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from budget_middleware.core.model import Finalize, Release, Target
from budget_middleware.core.windows import Period, Window
from budget_middleware.ledger.spool import Spool
from budget_middleware.ledger.spool_file import SpooledEnding, SpoolFile, set_aside_in

WINDOW = Window(Period.DAY, "2026-11-24", starts_ms=1_795_478_400_000, ends_ms=1_795_564_800_000)
TARGETS = (Target("key:a", WINDOW, 5_000_000_000), Target("team:b", WINDOW))
FINALIZE = SpooledEnding(Finalize("one", TARGETS, 120_000_000, reason="usage"), 1_795_500_000_000, "00-a-b-01")
RELEASE = SpooledEnding(Release("two", reason="cancelled while reserving"), 1_795_500_000_001)


@pytest.fixture
def open_spool(tmp_path: Path) -> Iterator[Callable[[], SpoolFile]]:
    """Spool files in one folder, as several processes would have them."""
    with ExitStack() as stack:

        def make() -> SpoolFile:
            file = SpoolFile(tmp_path)
            stack.callback(file.close)
            return file

        yield make


def _left_by_another_process(folder: Path, *, torn: str = "") -> None:
    """What a process leaves that is killed: its file, with its lock free."""

    def die() -> None:
        file = SpoolFile(folder)
        settled = SpooledEnding(Release("three"), 1)
        for spooled in (FINALIZE, settled, RELEASE):
            file.add(spooled)
        file.settle(settled)
        if torn:
            with next(folder.glob("*.endings")).open("a") as left:
                left.write(torn)
        os._exit(9)

    process = multiprocessing.get_context("fork").Process(target=die)
    process.start()
    process.join()
    assert process.exitcode == 9


def test_a_dead_processs_endings_are_adopted_once(tmp_path: Path, open_spool):
    _left_by_another_process(tmp_path)
    file, other = open_spool(), open_spool()
    assert file.adopt() == [FINALIZE, RELEASE]
    assert other.adopt() == []
    assert file.adopt() == []
    file.close()
    assert open_spool().adopt() == [FINALIZE, RELEASE], "they were on disk as long as nobody settled them"


def test_a_living_processs_endings_are_its_own(open_spool):
    open_spool().add(FINALIZE)
    assert open_spool().adopt() == []


def test_a_settled_ending_is_not_adopted(tmp_path: Path, open_spool):
    file = open_spool()
    file.add(FINALIZE)
    file.settle(FINALIZE)
    file.close()
    assert list(tmp_path.iterdir()) == []
    assert open_spool().adopt() == []


@pytest.mark.parametrize("torn", ['{"owed": "finalize", "id": "four", "tar', '{"owed": "refund"}\n', "[]\n", "17\n"])
def test_a_line_that_cannot_be_read_is_left_out_and_said(
    tmp_path: Path, open_spool, caplog: pytest.LogCaptureFixture, torn: str
):
    _left_by_another_process(tmp_path, torn=torn)
    assert open_spool().adopt() == [FINALIZE, RELEASE]
    assert "cannot be read" in caplog.text


def test_what_does_not_fit_is_lost_and_said(caplog: pytest.LogCaptureFixture):
    spool = Spool(at_most=1)
    assert spool.keep(FINALIZE)
    assert spool.keep(FINALIZE), "it has its room already"
    assert not spool.keep(RELEASE)
    assert (len(spool), spool.lost) == (1, 1)
    assert "BUDGET_SPOOL_MAX=1" in caplog.text
    spool.settle(FINALIZE)
    assert spool.keep(RELEASE)


def test_a_disk_that_cannot_be_written_does_not_stop_the_waiting(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    (tmp_path / "file").write_text("")
    spool = Spool(at_most=5, file=SpoolFile(tmp_path / "file" / "folder"))
    assert spool.keep(FINALIZE)
    assert len(spool) == 1
    assert "BUDGET_SPOOL_PATH cannot be written" in caplog.text


def test_a_spool_file_holds_no_secret_and_is_the_owners_alone(tmp_path: Path):
    file = SpoolFile(tmp_path / "spool")
    file.add(FINALIZE)
    assert (tmp_path / "spool").stat().st_mode & 0o077 == 0
    file.close()
    (line,) = next((tmp_path / "spool").glob("*.endings")).read_text().splitlines()
    assert json.loads(line).keys() == {"owed", "id", "since_ms", "reason", "reserve_trace", "targets", "actual_nanos"}


def test_it_is_on_the_disk_before_anything_else_happens(tmp_path: Path, open_spool, monkeypatch: pytest.MonkeyPatch):
    """What the operating system has not yet written when it stops was synced, or is not relied upon."""
    synced: list[str] = []

    def fsync(descriptor: int) -> None:
        (path,) = (path for path in tmp_path.iterdir() if path.stat().st_ino == os.fstat(descriptor).st_ino)
        synced.append(path.read_text())

    monkeypatch.setattr(os, "fsync", fsync)
    spool = Spool(at_most=5, file=open_spool())
    assert spool.keep(FINALIZE)
    assert [FINALIZE.ending.id in text for text in synced] == [True]


def test_what_came_too_late_is_left_for_an_operator(tmp_path: Path, open_spool):
    spool = Spool(at_most=5, file=open_spool())
    assert spool.keep(FINALIZE)
    spool.set_aside(FINALIZE)
    assert len(spool) == 0, "it takes no room"
    spool.close()
    (aside,) = set_aside_in(tmp_path)
    assert list(tmp_path.iterdir()) == [aside]
    assert json.loads(aside.read_text())["actual_nanos"] == "120000000"
    assert open_spool().adopt() == [], "no process takes it over"


def test_without_a_disk_what_came_too_late_is_counted_on():
    spool = Spool(at_most=5)
    assert spool.keep(FINALIZE)
    spool.set_aside(FINALIZE)
    assert len(spool) == 1


def test_what_never_waited_is_not_set_aside(tmp_path: Path, open_spool):
    """A replay that comes too late was answered once before."""
    Spool(at_most=5, file=open_spool()).set_aside(FINALIZE)
    assert set_aside_in(tmp_path) == []
