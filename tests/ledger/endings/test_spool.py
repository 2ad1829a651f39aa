"""Endings that wait for the store: how many may, and what is left of them when their process dies."""

import fcntl
import json
import multiprocessing
import os
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from budget_middleware.core.model import Target
from budget_middleware.core.money import MAX_NANOS
from budget_middleware.core.units import Amounts
from budget_middleware.core.verbs import Finalize, Release
from budget_middleware.core.windows import Period, Window
from budget_middleware.ledger.endings import spool_file
from budget_middleware.ledger.endings.spool import Spool
from budget_middleware.ledger.endings.spool_file import SpoolFile, refused_in, set_aside_in
from budget_middleware.ledger.endings.spool_lines import SpooledEnding, from_line, to_line

WINDOW = Window(Period.DAY, "2026-11-24", starts_ms=1_795_478_400_000, ends_ms=1_795_564_800_000)
TARGETS = (Target("key:aaaaaaaaaaaaaaaa", WINDOW, 5_000_000_000), Target("team:b", WINDOW))
TRACE = f"00-{1:032x}-{2:016x}-01"
FINALIZE = SpooledEnding(
    Finalize("1" * 32, TARGETS, Amounts(usd=120_000_000), reason="usage"), 1_700_000_000_000, TRACE
)
RELEASE = SpooledEnding(Release("2" * 32, reason="cancelled while reserving"), 1_700_000_000_001)


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
        settled = SpooledEnding(Release("3" * 32), 1)
        for spooled in (FINALIZE, settled, RELEASE):
            file.add(spooled)
        file.remove(settled)
        if torn:
            with next(folder.glob("*.owed")).open("a") as left:
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
    file.remove(FINALIZE)
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
    assert spool.add(FINALIZE)
    assert spool.add(FINALIZE), "it has its room already"
    assert not spool.add(RELEASE)
    assert (len(spool), spool.lost) == (1, 1)
    assert "BUDGET_SPOOL_MAX=1" in caplog.text
    spool.remove(FINALIZE)
    assert spool.add(RELEASE)


def test_a_disk_that_cannot_be_written_does_not_stop_the_waiting(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    (tmp_path / "file").write_text("")
    spool = Spool(at_most=5, file=SpoolFile(tmp_path / "file" / "folder"))
    assert spool.add(FINALIZE)
    assert len(spool) == 1
    assert "BUDGET_SPOOL_PATH cannot be written" in caplog.text


def test_a_spool_file_holds_no_secret_and_is_the_owners_alone(tmp_path: Path):
    file = SpoolFile(tmp_path / "spool")
    file.add(FINALIZE)
    assert (tmp_path / "spool").stat().st_mode & 0o077 == 0
    file.close()
    (line,) = next((tmp_path / "spool").glob("*.owed")).read_text().splitlines()
    assert json.loads(line).keys() == {"owed", "id", "since_ms", "reason", "reserve_trace", "v", "counters", "actual"}


def test_it_is_on_the_disk_at_once_and_synced(tmp_path: Path, open_spool, monkeypatch: pytest.MonkeyPatch):
    """A process that dies then leaves it, and in a moment a machine does."""
    synced: queue.Queue[str] = queue.Queue()
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.put(_text_of(descriptor, tmp_path)))
    spool = Spool(at_most=5, file=open_spool())
    assert spool.add(FINALIZE)
    assert FINALIZE.ending.id in next(tmp_path.iterdir()).read_text()
    assert FINALIZE.ending.id in synced.get(timeout=30)


def test_what_is_adopted_is_on_the_disk_before_it_leaves_its_file(
    tmp_path: Path, open_spool, monkeypatch: pytest.MonkeyPatch
):
    """A machine that loses its power in between has it twice, which books it once, and never nowhere."""
    _left_by_another_process(tmp_path)
    (left,) = tmp_path.glob("*.owed")
    done: list[str] = []
    fsync, unlink = os.fsync, Path.unlink

    def note_sync(descriptor: int) -> None:
        fsync(descriptor)
        done.append("synced" if left.exists() else "synced late")

    def note_unlink(path: Path, **named: bool) -> None:
        done.append("unlinked")
        unlink(path, **named)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(Path, "unlink", note_unlink)
    # What is synced in the background may come at any time.
    monkeypatch.setattr(spool_file.Sync, "request", lambda *_: None)
    assert open_spool().adopt() == [FINALIZE, RELEASE]
    assert done.index("synced") < done.index("unlinked")


def test_a_folder_that_goes_away_while_a_file_is_made_keeps_nothing_from_the_next(
    tmp_path: Path, open_spool, monkeypatch: pytest.MonkeyPatch
):
    """A file without the name that others look for would never be adopted."""

    def fail(path: Path, _: Path) -> Path:
        raise OSError(f"{path} cannot be renamed")

    spool = open_spool()
    with monkeypatch.context() as broken:
        broken.setattr(Path, "rename", fail)
        with pytest.raises(OSError, match="renamed"):
            spool.add(FINALIZE)
    spool.add(RELEASE)
    (owed,) = tmp_path.glob("*.owed")
    assert to_line(RELEASE) in owed.read_text()


def test_a_slow_disk_holds_nobody_up(tmp_path: Path, open_spool, monkeypatch: pytest.MonkeyPatch):
    """What is written while one sync runs shares the next."""
    synced: queue.Queue[str] = queue.Queue()
    disk = threading.Semaphore(0)

    def fsync(descriptor: int) -> None:
        text = _text_of(descriptor, tmp_path)
        synced.put(text)
        disk.acquire(timeout=30)

    monkeypatch.setattr(os, "fsync", fsync)
    spool = Spool(at_most=1_000, file=open_spool())
    endings = [SpooledEnding(Release(f"{number:032x}"), number) for number in range(1_000)]
    assert spool.add(endings[0])
    synced.get(timeout=30)
    assert all(spool.add(each) for each in endings)
    disk.release()
    assert synced.get(timeout=30).count('"owed"') == 1_000
    disk.release()


def _text_of(descriptor: int, folder: Path) -> str:
    (path,) = (path for path in folder.iterdir() if path.stat().st_ino == os.fstat(descriptor).st_ino)
    return path.read_text()


def test_a_disk_that_fails_to_sync_is_told(open_spool, monkeypatch: pytest.MonkeyPatch, caplog):
    told = threading.Event()

    def fail(_: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    monkeypatch.setattr(spool_file._log, "error", lambda *_: told.set())
    assert Spool(at_most=5, file=open_spool()).add(FINALIZE)
    assert told.wait(30)


def test_two_that_find_the_same_file_adopt_it_once(tmp_path: Path, open_spool, monkeypatch: pytest.MonkeyPatch):
    """The slower one has opened it, and gets its lock when the faster one is done with it."""
    _left_by_another_process(tmp_path)
    faster, slower, lock = open_spool(), open_spool(), fcntl.flock
    adopted: list[SpooledEnding] = []

    def overtaken(file, operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", lock)
        adopted.extend(faster.adopt())
        lock(file, operation)

    monkeypatch.setattr(fcntl, "flock", overtaken)
    assert slower.adopt() == []
    assert adopted == [FINALIZE, RELEASE]
    slower.close()
    faster.close()
    assert open_spool().adopt() == [FINALIZE, RELEASE], "in one file only"


def test_a_file_that_cannot_be_opened_stops_nobody(tmp_path: Path, open_spool, caplog: pytest.LogCaptureFixture):
    (tmp_path / "0.owed").mkdir()
    _left_by_another_process(tmp_path)
    assert open_spool().adopt() == [FINALIZE, RELEASE]
    assert "0.owed cannot be taken over" in caplog.text


def test_bytes_that_are_no_text_stop_nobody(tmp_path: Path, open_spool, caplog: pytest.LogCaptureFixture):
    _left_by_another_process(tmp_path)
    with next(tmp_path.glob("*.owed")).open("ab") as left:
        left.write(b"\xff\xfe\n")
    assert open_spool().adopt() == [FINALIZE, RELEASE]
    assert "cannot be read" in caplog.text


def test_what_came_too_late_is_left_for_an_operator(tmp_path: Path, open_spool):
    spool = Spool(at_most=5, file=open_spool())
    assert spool.add(FINALIZE)
    spool.set_aside(FINALIZE)
    assert len(spool) == 0, "it takes no room"
    spool.close()
    (aside,) = set_aside_in(tmp_path)
    assert list(tmp_path.iterdir()) == [aside]
    assert json.loads(aside.read_text())["actual"] == {"usd": "120000000"}
    assert open_spool().adopt() == [], "no process takes it over"


def test_without_a_disk_what_came_too_late_is_counted_on():
    spool = Spool(at_most=5)
    assert spool.add(FINALIZE)
    spool.set_aside(FINALIZE)
    assert len(spool) == 1


def test_what_never_waited_is_not_set_aside(tmp_path: Path, open_spool):
    """A replay that comes too late was answered once before."""
    Spool(at_most=5, file=open_spool()).set_aside(FINALIZE)
    assert set_aside_in(tmp_path) == []


# What is believed: see the theory of spool_file.


def _line(**fields: object) -> str:
    document = json.loads(to_line(FINALIZE)) | {"id": "4" * 32} | fields
    return json.dumps({name: value for name, value in document.items() if value is not None}) + "\n"


def _counters(account: str = "key:aaaaaaaaaaaaaaaa", window: str = "2026-11-24", limit: str = "5") -> list[str]:
    return [f"{account}|day|{window} from=1795478400 to=1795564800 limit={limit}"]


FORGED = {
    "a negative amount": _line(actual={"usd": "-5000000000"}),
    "an amount beyond all limits": _line(actual={"usd": str(MAX_NANOS + 1)}),
    "an amount with a sign": _line(actual={"usd": "+5"}),
    "an amount as JSON has it": _line(actual={"usd": 5}),
    "a fraction": _line(actual={"usd": "0.5"}),
    "digits of another script": _line(actual={"usd": "\u0665"}),
    "no amount": _line(actual=None),
    "an amount of no unit": _line(actual={"apples": "5"}),
    "an amount without its unit": _line(actual="5"),
    "an id of another form": _line(id="four"),
    "an id with more keys in it": _line(id="4" * 30 + "}:"),
    "an id with a line": _line(id="4" * 32 + "\n"),
    "an account that is none": _line(counters=_counters("KEY")),
    "a token": _line(counters=_counters("key:sk-canary")),
    "a pattern": _line(counters=_counters("key:*")),
    "an account in another order": _line(counters=_counters("model+key:m+aaaaaaaaaaaaaaaa")),
    "a window of no form": _line(counters=_counters(window="x|y")),
    "a limit below zero": _line(counters=_counters(limit="-1")),
    "a window that ends before it starts": _line(counters=["team:b|day|2026-11-24 from=5 to=4"]),
    "a period that is none": _line(counters=["team:b|fortnight|2026-11-24 from=4 to=5"]),
    "half a counter": _line(counters=["team:b|day|2026-11-24"]),
    "a counter of no unit": _line(counters=["team:b|day|2026-11-24|apples from=4 to=5"]),
    "no counter": _line(counters=[]),
    "counters as a text": _line(counters=_counters()[0]),
    "far too many counters": _line(counters=_counters() * 257),
    "a reason with a line": _line(reason="a\nb"),
    "a reason that is long": _line(reason="x" * 501),
    "a bill with a line": _line(bill="{}\n{}"),
    "a bill that is long": _line(bill="x" * 2001),
    "a bill that is no text": _line(bill={}),
    "a trace that is none": _line(reserve_trace="\n"),
    "a time to come": _line(since_ms=9_999_999_999_999),
    "a time before all": _line(since_ms=-1),
    "a time that is none": _line(since_ms=True),
    "another verb": _line(owed="adjust"),
    "a settlement of nothing": '{"settled": [1]}\n',
    "a list": "[]\n",
    "a deep list": "[" * 100_000 + "\n",
}


@pytest.mark.parametrize("line", FORGED.values(), ids=FORGED)
def test_a_line_that_no_ledger_writes_is_kept_and_not_booked(tmp_path: Path, open_spool, caplog, line: str):
    _left_by_another_process(tmp_path, torn=line)
    assert open_spool().adopt() == [FINALIZE, RELEASE]
    (told,) = [record.message for record in caplog.records if record.levelname == "ERROR"]
    assert "1 lines of" in told
    assert "are not booked" in told
    assert "canary" not in told
    (kept,) = refused_in(tmp_path)
    assert line in kept.read_text()
    assert open_spool().adopt() == []


def test_a_bill_is_kept_with_its_ending():
    """A line of an older version has none, and what that version reads is as before."""
    assert isinstance(FINALIZE.ending, Finalize)
    billed = SpooledEnding(replace(FINALIZE.ending, bill='{"v":1}'), FINALIZE.since_ms, TRACE)
    assert from_line(to_line(billed)) == billed
    assert json.loads(to_line(billed)) == {**json.loads(to_line(FINALIZE)), "bill": '{"v":1}'}


def test_the_line_that_the_forged_ones_differ_from_is_believed(tmp_path: Path, open_spool):
    _left_by_another_process(tmp_path, torn=_line(counters=_counters()))
    assert len(open_spool().adopt()) == 3
    assert refused_in(tmp_path) == []


def _strange(name: str, path: Path) -> None:
    """Make of a dead process's file what its ledger would never leave."""
    real = path.with_suffix(".elsewhere")
    match name:
        case "a symbolic link":
            path.rename(real)
            path.symlink_to(real)
        case "a hard link":
            real.hardlink_to(path)
        case "others may write it":
            path.chmod(0o666)
        case "the group may write it":
            path.chmod(0o620)
        case "a named pipe":
            path.unlink()
            os.mkfifo(path)
        case "somebody else's":
            os.chown(path, 12_345, 12_345)


STRANGE = ["a symbolic link", "a hard link", "others may write it", "the group may write it", "a named pipe"]


@pytest.mark.parametrize("name", STRANGE)
def test_a_file_that_others_may_have_written_is_not_believed(tmp_path: Path, open_spool, caplog, name: str):
    _left_by_another_process(tmp_path)
    (path,) = tmp_path.glob("*.owed")
    _strange(name, path)
    spool = open_spool()
    assert spool.adopt() == []
    assert spool.adopt() == []
    (told,) = [record.message for record in caplog.records if record.levelname == "ERROR"]
    assert f"{path} cannot be taken over" in told
    assert os.path.lexists(path), "it is left for an operator"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_somebody_elses_file_is_not_believed(tmp_path: Path, open_spool, caplog):
    _left_by_another_process(tmp_path)
    (path,) = tmp_path.glob("*.owed")
    _strange("somebody else's", path)
    assert open_spool().adopt() == []
    assert "it belongs to user 12345" in caplog.text


def test_files_are_their_owners_alone_whatever_the_umask(tmp_path: Path):
    before = os.umask(0)
    try:
        spool = Spool(at_most=5, file=SpoolFile(tmp_path))
        spool.add(FINALIZE)
        spool.add(RELEASE)
        spool.set_aside(FINALIZE)
        assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
        spool.close()
    finally:
        os.umask(before)


def test_a_file_that_others_could_read_is_made_its_owners(tmp_path: Path, open_spool):
    """Earlier versions left them so."""
    _left_by_another_process(tmp_path)
    (path,) = tmp_path.glob("*.owed")
    path.chmod(0o644)
    assert open_spool().adopt() == [FINALIZE, RELEASE]
