"""Arguments: how a command is declared, and which values its arguments accept."""

import argparse
import difflib
import getpass
import os
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from budget_middleware.operations.exporting import parse_partition
from budget_middleware.operations.inputs import (
    read_account,
    read_amount,
    read_figure,
    read_pattern,
    read_reason,
    read_subject,
)
from budget_middleware.operations.reasons import reason_by
from budget_middleware.operations.reports import parse_by, parse_per
from budget_middleware.setting_types import TRACE_URL_ACCEPTED, trace_url_template

Run = Callable[[argparse.Namespace], int]

_T = TypeVar("_T")


class CommandError(Exception):
    """A command that cannot be carried out, in one line; exit 2."""


class Parser(argparse.ArgumentParser):
    """A parser that prints an error in one line."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        # What nobody asked for may be a token, such as that of `key-id sk-…`.
        if message.startswith("unrecognized arguments:"):
            message = "unrecognized arguments, which are not repeated here: one may be a token"
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if isinstance(action, argparse._SubParsersAction) and value not in action.choices:
            closest = difflib.get_close_matches(value, action.choices, n=1)
            # A word that is like no command may be a token, too.
            self.error(f"{value!r} is no command; closest: {closest[0]}" if closest else "that is no command")
        super()._check_value(action, value)


def add_command(commands: Any, name: str, run: Run, *, says: str, more: str = "") -> Parser:
    """Declare a command; `says` stands in the list of commands and, with `more`, in its own help."""
    command: Parser = commands.add_parser(name, help=says, description=f"{says} {more}".strip())
    command.set_defaults(run=run)
    command.add_argument("--json", action="store_true", help="write JSON")
    return command


def add_new(command: Parser) -> None:
    command.add_argument(
        "--new",
        action="store_true",
        help="even if this account, or this namespace, was never used: it may be a typing error",
    )


def add_trace_url(command: Parser, says: str) -> None:
    """Declare the option that goes before BUDGET_TRACE_URL."""
    command.add_argument(
        "--trace-url-template",
        dest="trace_url",
        type=_checked(_trace_url),
        metavar="URL",
        help=f"{says}, such as http://localhost:16686/trace/{{trace_id}} (default BUDGET_TRACE_URL)",
    )


def _checked(parse: Callable[[str], _T]) -> Callable[[str], _T]:
    """For argparse, which prints the message of an ArgumentTypeError and hides that of a ValueError."""

    def convert(text: str) -> _T:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return convert


def _count_from(least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not (text.strip().isdecimal() and least <= int(text) <= 1_000_000_000):
            raise ValueError(
                f"{text.strip()[:40]!r} is not a count; accepted are whole numbers from {least} to 1000000000"
            )
        return int(text)

    return parse


def _percent(text: str) -> int:
    digits = text.removesuffix("%")
    if not digits.isdecimal() or len(digits) > 6:
        raise ValueError(f"{text!r}: accepted: a percentage, 80 or 80%")
    return int(digits)


def _days(text: str) -> int:
    digits = text.removesuffix("d")
    if not digits.isdecimal() or not 1 <= int(digits[:5]) <= 3_660 or len(digits) > 4:
        raise ValueError(f"{text[:40]!r}: accepted: whole days from 1d to 3660d, such as 7d")
    return int(digits)


def _trace_url(text: str) -> str:
    try:
        template = trace_url_template(text)
    except ValueError as error:
        raise ValueError(f"{text[:80]!r}: {error}") from None
    if template is None:
        raise ValueError(f"'': accepted: {TRACE_URL_ACCEPTED}")
    return template


def _reason(text: str) -> str:
    return reason_by(_user_name(), read_reason(text))


def _user_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # A container's user may have no name.
        return f"uid {os.getuid()}"


account = _checked(read_account)
"""One account, in its canonical form."""
pattern = _checked(read_pattern)
"""An account in which `*` stands for any subject, in the form in which limits are stored."""
subject = _checked(read_subject)
"""One account, or the id of a reservation."""
figure = _checked(read_figure)
"""An amount and its unit, USD where none is named."""
amount = _checked(read_amount)
"""Nano-dollars of an amount in USD that is not 0."""
percent = _checked(_percent)
"""A whole percentage, with or without its sign."""
days = _checked(_days)
"""A number of days, with or without a ``d`` behind it."""
dimensions = _checked(parse_by)
"""What a report is by."""
report_period = _checked(parse_per)
partition = _checked(parse_partition)
positive = _checked(_count_from(1))
tokens = _checked(_count_from(0))
reason = _checked(_reason)
"""Why, in one line, with the name of who says so."""
