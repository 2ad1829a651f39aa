"""F62: an accounts file is read while somebody writes it. The last good one stays until the new one has settled."""

import asyncio
import os
import signal
import threading
import time
import tomllib

import pytest

from budget_middleware import BudgetMiddleware
from budget_middleware.core.payers.accounts import key_id
from budget_middleware.payers import accounts_file
from budget_middleware.payers.accounts_file import STABLE_S, AccountsFile
from budget_middleware.setting_types import Mode
from budget_middleware.settings import SettingsError
from budget_middleware.settings_loading import load
from budget_middleware.testing import MovableClock, ScriptedApp, call
from tests.request.turns import longest_step_s
from tests.request.wire import TOKEN, ask, bearer, completion

KEYS = [f"{number:016x}" for number in range(9)] + [key_id(TOKEN)]
LINES = [f'[keys."{key}"]\nteam = "search"\nuser = "u"\n' for key in KEYS]
WHOLE = "".join(LINES)
# What a file holds while it is being written over, or after it was cut: each parses but the last two.
IN_THE_MAKING = {
    "empty": "",
    "a comment": "# being generated\n",
    "the table alone": "[keys]\n",
    "one key of ten": LINES[0],
    "all but the last key": "".join(LINES[:-1]),
    "cut behind the last team": WHOLE.removesuffix('user = "u"\n'),
    "cut behind the last table": WHOLE.removesuffix('team = "search"\nuser = "u"\n'),
    "cut in a word": WHOLE.removesuffix('earch"\nuser = "u"\n'),
    "cut in a table": WHOLE[:-50],
}


class Watched:
    """An accounts file, whose clock a test moves; each `look` is two seconds later, and waits for what has changed."""

    def __init__(self, path):
        self.path = path
        self.path.write_text(WHOLE)
        self._clock = MovableClock()
        self.file = AccountsFile(path, clock_s=lambda: self._clock() / 1000)

    def write(self, text):
        self.path.write_text(text)

    async def look(self, *, after_s=2.0):
        self._clock.advance(ms=round(after_s * 1000))
        return await self.file.subjects_of(key_id(TOKEN))


@pytest.fixture
def watched(tmp_path):
    return Watched(tmp_path / "accounts.toml")


ALL = {"team": "search", "user": "u"}


@pytest.mark.parametrize("text", IN_THE_MAKING.values(), ids=IN_THE_MAKING)
async def test_f62_a_file_in_the_making_unbinds_nobody(watched, text, caplog):
    watched.write(text)
    assert await watched.look() == ALL
    assert watched.file.kinds == {"team", "user"}
    assert await watched.look(after_s=STABLE_S - 2.1) == ALL
    watched.write(WHOLE)
    assert await watched.look() == ALL
    assert await watched.look(after_s=STABLE_S * 9) == ALL
    (record,) = caplog.records
    assert "the last good one stays" in record.message


@pytest.mark.parametrize("name", ["empty", "a comment", "the table alone", "cut in a word"])
async def test_a_file_without_any_key_is_never_used_by_a_running_gateway(watched, name):
    watched.write(IN_THE_MAKING[name])
    for _ in range(20):
        assert await watched.look(after_s=STABLE_S) == ALL


async def test_fewer_keys_are_used_when_the_file_has_settled(watched, caplog):
    watched.write(IN_THE_MAKING["all but the last key"])
    assert await watched.look() == ALL
    assert await watched.look(after_s=STABLE_S) is None
    lacks, used = caplog.messages
    assert "lacks 1 of its 10 keys, or accounts of theirs" in lacks
    assert "is used now" in used
    watched.write(WHOLE)
    assert await watched.look() == ALL


async def test_a_file_that_goes_on_changing_has_not_settled(watched):
    for number in range(1, len(LINES)):
        watched.write("".join(LINES[:number]))
        assert await watched.look(after_s=STABLE_S) == ALL


async def test_one_that_is_touched_is_the_same(watched):
    watched.write(LINES[0])
    await watched.look()
    os.utime(watched.path, (1, 1))
    assert await watched.look(after_s=STABLE_S) == ALL
    assert await watched.look() is None


async def test_more_keys_and_other_accounts_are_used_at_once(watched, caplog):
    watched.write(WHOLE.replace("search", "ads") + '[keys."ffffffffffffffff"]\nteam = "new"\n')
    assert await watched.look() == {"team": "ads", "user": "u"}
    assert caplog.messages == []


async def test_a_file_that_is_replaced_in_one_step_is_used_at_once(watched, tmp_path):
    (tmp_path / "new").write_text(WHOLE.replace("search", "ads"))
    (tmp_path / "new").rename(watched.path)
    assert await watched.look() == {"team": "ads", "user": "u"}


async def test_a_file_that_has_gone_and_comes_back(watched):
    watched.path.unlink()
    assert await watched.look(after_s=STABLE_S * 9) == ALL
    watched.write(WHOLE.replace("search", "ads"))
    assert await watched.look() == {"team": "ads", "user": "u"}


async def test_a_permission_that_is_given_back(watched, monkeypatch, caplog):
    """Nothing but the time of its change of state tells of it."""
    watched.write(WHOLE.replace("search", "ads"))
    with monkeypatch.context() as lost:
        lost.setattr(type(watched.path), "read_text", refuse)
        assert await watched.look() == ALL
    assert "Permission denied" in caplog.text
    # The tests may run as root, whom no mode stops: what counts is that the mode's change is noticed.
    watched.path.chmod(0o640)
    assert await watched.look() == {"team": "ads", "user": "u"}


def refuse(*_, **__):
    raise PermissionError(13, "Permission denied")


async def test_a_writer_that_never_stops(watched, monkeypatch):
    """A real thread cuts the file, waits, and writes it anew, while it is looked at all the time."""
    monkeypatch.setattr(accounts_file, "_LOOK_S", 0.0)
    monkeypatch.setattr(accounts_file, "_IDLE_S", 0.0)
    has_ended = threading.Event()

    def write():
        for _ in range(40):
            watched.write("")
            time.sleep(0.001)
            with watched.path.open("w") as out:
                for line in LINES:
                    out.write(line)
                    out.flush()
        has_ended.set()

    writer = threading.Thread(target=write)
    writer.start()
    looks = 0
    while not has_ended.is_set():
        assert await watched.look(after_s=0) == ALL
        looks += 1
    writer.join()
    assert looks > 40


async def test_f62_a_team_limit_binds_while_the_file_is_cut(tmp_path, monkeypatch):
    monkeypatch.setattr(accounts_file, "_LOOK_S", 0.0)
    monkeypatch.setattr(accounts_file, "_IDLE_S", 0.0)
    path = tmp_path / "accounts.toml"
    path.write_text(WHOLE)
    prices = tmp_path / "prices.toml"
    prices.write_text("[models.plain]\ninput = 0\noutput = 1000\n")
    app = ScriptedApp(completion(100))
    guard = BudgetMiddleware(
        app, accounts_file=str(path), limits="team=0/month", prices=str(prices), mode=str(Mode.ENFORCE)
    )
    for text in (WHOLE, *IN_THE_MAKING.values(), WHOLE):
        path.write_text(text)
        assert (await call(guard, ask(), headers=bearer())).status == 429, text
    await guard.ledger.drain()


@pytest.fixture
def slow(watched, monkeypatch):
    """The watched file with other accounts in it; whoever reads it waits until the event is set."""
    may_read, read_text = threading.Event(), type(watched.path).read_text

    def wait(path, *encoding):
        may_read.wait()
        return read_text(path, *encoding)

    watched.write(WHOLE.replace("search", "ads"))
    monkeypatch.setattr(type(watched.path), "read_text", wait)
    yield may_read
    may_read.set()


NEW = {"team": "ads", "user": "u"}


async def test_while_a_change_is_read_the_last_good_one_serves(watched, slow):
    assert [await watched.look(after_s=1) for _ in range(5)] == [ALL] * 5
    reading = watched.file._reading
    slow.set()
    await asyncio.wrap_future(reading)
    assert await watched.look(after_s=0) == NEW


async def test_after_idle_time_all_wait_for_the_change_and_nobody_cuts_it_off(watched, slow):
    """Nobody knows for how long it has stood there."""
    waiting = [asyncio.create_task(watched.look()) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    assert not (await asyncio.wait(waiting[1:], timeout=0))[0]
    slow.set()
    assert await asyncio.gather(*waiting[1:]) == [NEW] * 2


async def test_without_a_thread_to_be_had_the_last_good_one_serves_and_the_change_is_read_later(
    watched, monkeypatch, caplog
):
    watched.write(WHOLE.replace("search", "ads"))
    with monkeypatch.context() as exhausted:
        exhausted.setattr(threading.Thread, "start", refuse_to_start)
        assert await watched.look() == ALL
    assert "is not read yet; the last good one stays: can't start new thread" in caplog.text
    assert await watched.look() == NEW


def refuse_to_start(_):
    raise RuntimeError("can't start new thread")


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
async def test_a_child_reads_the_change_that_its_parent_was_reading(watched, slow):
    waiting = asyncio.create_task(watched.look())
    await asyncio.sleep(0)
    if (child := os.fork()) == 0:
        try:
            signal.alarm(20)
            slow.set()
            os._exit(0 if asyncio.run(watched.look()) == NEW else 1)
        finally:
            os._exit(2)
    slow.set()
    assert await waiting == NEW
    assert (await asyncio.to_thread(os.waitpid, child, 0))[1] == 0


async def test_the_loop_goes_on_while_many_keys_are_read(watched):
    watched.write("".join(f'[keys."{number:016x}"]\nteam = "t{number}"\n' for number in range(5_000)) + LINES[-1])
    started_s = time.thread_time()
    tomllib.loads(watched.path.read_text())
    parsing_s = time.thread_time() - started_s
    _, step_s = await longest_step_s(watched.look())
    assert step_s < parsing_s / 4


def test_a_file_of_limits_without_any_stops_the_server(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "limits").write_text("# being generated\n")
    with pytest.raises(SettingsError, match="the file names no limit") as error:
        load(limits="@limits")
    assert str(error.value).startswith("BUDGET_LIMITS='@limits': ")


def test_a_file_that_names_no_key_at_the_start_is_told(tmp_path, caplog):
    path = tmp_path / "accounts.toml"
    path.write_text("")
    AccountsFile(path)
    assert "names no key, so limits on teams, users and other accounts of keys never bind" in caplog.text


def test_the_words_of_the_parser_are_not_repeated(tmp_path):
    path = tmp_path / "accounts.toml"
    path.write_text("[keys.sk-canary]\n[keys.sk-canary]\n")
    with pytest.raises(ValueError, match=r"this is not TOML, at line 2, column \d+") as error:
        AccountsFile(path)
    assert "canary" not in str(error.value)
