"""Processes that write to one file take turns."""

import multiprocessing
import time
from itertools import groupby
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from budget_middleware.databases.turns import Turns

EACH = 50


def write_without_rest(path: Path, log: Path, name: str, ready: Connection) -> None:
    turns = Turns(path)
    ready.send(None)
    ready.recv()
    with log.open("a") as lines:
        for _ in range(EACH):
            turns.begin()
            lines.write(f"{name}\n")
            lines.flush()
            # Work that the others have to wait for.
            end_s = time.perf_counter() + 0.001
            while time.perf_counter() < end_s:
                pass
            turns.end()


@pytest.mark.processes
def test_none_that_never_rests_keeps_others_out(tmp_path: Path):
    path, log = tmp_path / "budget.db", tmp_path / "log"
    spawn = multiprocessing.get_context("spawn")
    pipes = [spawn.Pipe() for _ in "ab"]
    writers = [
        spawn.Process(target=write_without_rest, args=(path, log, name, pipe))
        for name, (_, pipe) in zip("ab", pipes, strict=True)
    ]
    for writer in writers:
        writer.start()
    for ours, _ in pipes:
        ours.recv()
    for ours, _ in pipes:
        ours.send(None)
    for writer in writers:
        writer.join()
    names = log.read_text().split()
    assert sorted(names) == ["a"] * EACH + ["b"] * EACH
    in_a_row = [len(list(group)) for _, group in groupby(names)]
    # Until one has ended they alternate; at the start the other may not be there yet.
    assert len(in_a_row) > EACH


def test_a_turn_is_a_courtesy(tmp_path: Path):
    turns = Turns(tmp_path / "no folder" / "budget.db")
    turns.begin()
    turns.end()
    turns.close()
