"""The console script: runs a command and returns its exit code, never a traceback."""

import logging
import os
import re
import sys
import traceback
from argparse import Action, ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, NoReturn

from budget_middleware.cli import (
    alerting,
    auditing,
    changing,
    doctor,
    estimating,
    explaining,
    exporting,
    importing,
    initializing,
    limiting,
    migrating,
    price_checking,
    pricing,
    reading,
    reporting,
    restoring,
    shadowing,
)
from budget_middleware.cli.output import PROGRAM, print_error, print_line
from budget_middleware.cli.parsing import CommandError, Parser, add_command, tokens
from budget_middleware.package_version import package_version
from budget_middleware.settings import SettingsError

INTERRUPTED = 130
BROKEN_PIPE = 141
"""What a shell shows for a program that SIGINT or SIGPIPE ended."""

_DESCRIPTION = (
    "Show and change what the budgets of an LLM gateway have spent and reserved. It reads the gateway's own BUDGET_*"
    " settings from the environment."
)
_EPILOG = (
    "A number looks wrong? `explain ACCOUNT` tells how it came about, `audit` checks all numbers, `doctor` checks the"
    " settings. Exit codes: 0: done; 1: a check failed, a counter differs, or nothing was changed; 2: wrong input, a"
    " wrong setting, or no answer from the store."
)
_NEGATIVE = re.compile(r"-[.0-9]")


def main(words: Sequence[str] | None = None) -> int:
    """Run one command: 0 done, 1 drift or not applied, 2 wrong input, wrong setting or no store."""
    with _own_lateness_unlogged():
        return _run(words)


@contextmanager
def _own_lateness_unlogged() -> Iterator[None]:
    """How late a command's own event loop is concerns nobody: no request waits for it."""
    log = logging.getLogger("budget_middleware.loop")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


def _run(words: Sequence[str] | None) -> int:
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        arguments = _parser().parse_args(_with_negative_amounts(sys.argv[1:] if words is None else words))
        code: int = arguments.run(arguments)
        sys.stdout.flush()
    except (CommandError, SettingsError) as error:
        print_error(str(error))
        return 2
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # What is still buffered must not fail again when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except Exception as error:  # noqa: BLE001 - a bug of ours, reported in one line like any error
        place = traceback.extract_tb(error.__traceback__)[-1]
        error_text = " ".join(f"{type(error).__name__}: {error}".split())
        print_error(f"unexpected {error_text} (in {place.name}, line {place.lineno}); please report it")
        return 2
    return code


class _ShowVersion(Action):
    """The version is looked up only when somebody asks for it: that takes as long as parsing."""

    def __call__(self, parser: ArgumentParser, *_: object) -> NoReturn:
        print_line(f"{PROGRAM} {package_version() or '(a source tree that is not installed has no version)'}")
        parser.exit()


@cache
def _parser() -> Parser:
    """Of all commands; it takes 6 ms, and what runs many commands in one process, as tests do, needs one."""
    parser = Parser(prog=PROGRAM, description=_DESCRIPTION, epilog=_EPILOG)
    parser.add_argument("--version", action=_ShowVersion, nargs=0, help="show the version that is installed")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    reading.add_to(commands)
    explaining.add_to(commands)
    auditing.add_to(commands)
    alerting.add_to(commands)
    limiting.add_to(commands)
    changing.add_to(commands)
    shadowing.add_to(commands)
    restoring.add_to(commands)
    reporting.add_to(commands)
    exporting.add_to(commands)
    estimating.add_to(commands)
    pricing.add_to(commands)
    price_checking.add_to(commands)
    doctor.add_to(commands)
    initializing.add_to(commands)
    importing.add_to(commands)
    migrating.add_to(commands)
    _add_demo(commands)
    return parser


def _with_negative_amounts(words: Sequence[str]) -> list[str]:
    # argparse takes -.5 and -1e-3 for options; not so with a space in front.
    return [f" {word}" if _NEGATIVE.match(word) else word for word in words]


def _add_demo(commands: Any) -> None:
    demo = add_command(commands, "demo", _demo, says="Show the budget guard at work on a gateway of its own.")
    demo.add_argument("--plain", action="store_true", help="lines instead of a live table")
    demo.add_argument("--seconds", type=tokens, default=18, metavar="N", help="how many seconds (default 18)")


def _demo(arguments: Namespace) -> int:
    try:
        from budget_middleware.demo import run_demo
    except ModuleNotFoundError as missing:
        raise CommandError(f"demo needs the package {missing.name}; pip install 'budget-middleware[demo]'") from None
    return run_demo(plain=arguments.plain, as_json=arguments.json, seconds=float(arguments.seconds))
