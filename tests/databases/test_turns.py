"""Processes that write to one file take turns."""

import fcntl
import multiprocessing
import os
import time
from pathlib import Path

import pytest

from budget_middleware.databases.turns import Turns


def write_once(path: Path, log: Path) -> None:
    turns = Turns(path)
    turns.begin()
    log.write_text("written\n")
    turns.end()


def is_somebody_next(file: int) -> bool:
    """Whether another process has the queue."""
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 0)
    except OSError:
        return True
    fcntl.lockf(file, fcntl.LOCK_UN, 1, 0)
    return False


@pytest.mark.processes
def test_who_never_rests_lets_the_next_one_write(tmp_path: Path):
    path, log = tmp_path / "budget.db", tmp_path / "log"
    turns = Turns(path)
    turns.begin()
    other = multiprocessing.get_context("spawn").Process(target=write_once, args=(path, log))
    other.start()
    # Not closed before the turn ends: a process that closes a file gives up all its locks of it.
    file = os.open(path.with_name(f"{path.name}-turns"), os.O_RDWR)
    while not is_somebody_next(file):
        time.sleep(0.01)
    assert not log.exists()
    turns.end()
    turns.begin()
    assert log.read_text() == "written\n"
    turns.end()
    turns.close()
    os.close(file)
    other.join()


def test_a_turn_is_a_courtesy(tmp_path: Path):
    turns = Turns(tmp_path / "no folder" / "budget.db")
    turns.begin()
    turns.end()
    turns.close()
