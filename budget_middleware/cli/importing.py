"""`import litellm`: the limits of a LiteLLM proxy as BUDGET_LIMITS and an accounts file."""

from argparse import Namespace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from budget_middleware.cli.new_files import write_new
from budget_middleware.cli.output import print_error, print_json, print_line
from budget_middleware.cli.parsing import CommandError, add_command
from budget_middleware.cli.progress import Progress
from budget_middleware.operations.errors import OperationError
from budget_middleware.operations.litellm_import import (
    accounts_text,
    commands_text,
    import_litellm,
    limits_text,
    unmapped_text,
)
from budget_middleware.operations.wording import counted
from budget_middleware.settings_loading import load


def add_to(commands: Any) -> None:
    says = "Read the limits of another gateway, and print them in the form that BUDGET_LIMITS has."
    sources = commands.add_parser("import", help=says, description=says).add_subparsers(metavar="SOURCE", required=True)
    litellm = add_command(
        sources,
        "litellm",
        _litellm,
        says="Read LiteLLM's config or exports of its database, and print limits and the accounts of keys.",
        more="Exit code 1 if something cannot be mapped; each such thing is listed with its place and reason.",
    )
    litellm.add_argument(
        "files", metavar="FILE", nargs="+", help="config.yaml; tables as JSON, JSON lines or CSV; a dump of PostgreSQL"
    )
    litellm.add_argument("--limits", metavar="FILE", help="write the limits there, for BUDGET_LIMITS=@FILE")
    litellm.add_argument("--accounts", metavar="FILE", help="write the accounts there, for BUDGET_ACCOUNTS_FILE")
    litellm.add_argument("--commands", metavar="FILE", help="write the commands there that carry over what is spent")


def _litellm(arguments: Namespace) -> int:
    settings = load()
    try:
        found = import_litellm(
            {name: _read(name) for name in arguments.files},
            now=datetime.now(UTC),
            timezone=settings.timezone,
            has_secret=bool(settings.hash_secret.get_secret_value()),
            on_key=Progress("keys are read"),
        )
    except OperationError as error:
        raise CommandError(str(error)) from None
    sections = {
        "limits": ("BUDGET_LIMITS", limits_text(found)),
        "accounts": ("BUDGET_ACCOUNTS_FILE", accounts_text(found)),
        "commands": ("Run once, after LiteLLM has stopped counting", commands_text(found)),
    }
    files = {name: path for name in sections if (path := getattr(arguments, name)) is not None}
    write_new({path: sections[name][1] for name, path in files.items()})
    if arguments.json:
        print_json(found)
    else:
        for name, (title, text) in sections.items():
            _print_section(title, f"# written to {files[name]}\n" if name in files else text)
        _print_section(f"Not mapped: {len(found.unmapped)}", unmapped_text(found))
    if found.unmapped:
        things = counted(len(found.unmapped), "thing")
        print_error(f"not mapped, and so not limited here: {things}; see the list")
    return 1 if found.unmapped else 0


def _read(name: str) -> str:
    try:
        return Path(name).read_text("utf-8-sig")
    except OSError as error:
        raise CommandError(f"{name}: {error.strerror or error}") from None
    except ValueError:
        raise CommandError(f"{name}: it is not text in UTF-8") from None


def _print_section(title: str, text: str) -> None:
    print_line(f"# {title}")
    for line in text.splitlines():
        print_line(line)
    print_line("")
