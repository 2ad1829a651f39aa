"""`init`: writes a settings file to begin with."""

import secrets
import shlex
from argparse import Namespace
from pathlib import Path
from typing import Any

from budget_middleware.cli.new_files import PRIVATE, write_new
from budget_middleware.cli.output import print_json, print_line
from budget_middleware.cli.parsing import add_command
from budget_middleware.operations.settings_file import settings_text

_SECRET_BYTES = 32


def add_to(commands: Any) -> None:
    command = add_command(
        commands,
        "init",
        _init,
        says="Write a settings file with comments and new secrets; never over a file that exists.",
        more="Only its owner can read it.",
    )
    command.add_argument(
        "file", metavar="FILE", nargs="?", default="budget.env", help="the new file (default budget.env)"
    )


def _init(arguments: Namespace) -> int:
    path = Path(arguments.file)
    text = settings_text(
        folder=path.absolute().parent,
        hash_secret=secrets.token_hex(_SECRET_BYTES),
        admin_token=secrets.token_hex(_SECRET_BYTES),
    )
    write_new({arguments.file: text}, permissions=PRIVATE)
    if arguments.json:
        print_json({"file": arguments.file})
        return 0
    # A shell looks up a name without a slash in PATH.
    sourced = shlex.quote(arguments.file if "/" in arguments.file else f"./{arguments.file}")
    print_line(f"{arguments.file} is written, for its owner only. Change its limits, then check it:")
    print_line(f"  set -a; . {sourced}; set +a")
    print_line("  budget-middleware doctor")
    return 0
