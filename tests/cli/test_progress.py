"""How far a long command is: nothing for a short one, few lines for a long one."""

import pytest

from budget_middleware.cli.progress import Progress


def lines_of_one_step_a_second(n_steps: int, capsys: pytest.CaptureFixture[str]) -> list[str]:
    seconds = iter(range(n_steps + 1))
    progress = Progress("keys are read", clock=lambda: next(seconds))
    for done in range(1, n_steps + 1):
        progress(done * 1000, n_steps * 1000)
    printed = capsys.readouterr()
    assert not printed.out
    return printed.err.splitlines()


def test_a_command_of_a_second_says_nothing(capsys: pytest.CaptureFixture[str]):
    assert lines_of_one_step_a_second(1, capsys) == []


def test_a_long_command_tells_after_twice_the_time_each(capsys: pytest.CaptureFixture[str]):
    assert lines_of_one_step_a_second(9, capsys) == [
        "budget-middleware: 2,000 of 9,000 keys are read",
        "budget-middleware: 4,000 of 9,000 keys are read",
        "budget-middleware: 8,000 of 9,000 keys are read",
    ]
