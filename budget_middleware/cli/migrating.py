"""`migrate`: moves a ledger to another store, namespace or hash secret, and shows the proof."""

import asyncio
import sys
from argparse import Namespace
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from budget_middleware.cli.migration_progress import MigrationProgress
from budget_middleware.cli.output import Table, print_error, print_json, print_line, table_rows, warn
from budget_middleware.cli.parsing import CommandError, add_command, tokens
from budget_middleware.operations.errors import OperationError
from budget_middleware.operations.migrating import Migration, MigrationReport, Renaming, migrate, renaming_of
from budget_middleware.operations.wording import counted
from budget_middleware.settings_loading import load

_SHOWN = 50
_UNREPEATED = "what was given is not repeated here, since it may be the secret itself"


def add_to(commands: Any) -> None:
    command = add_command(
        commands,
        "migrate",
        _migrate,
        says="Copy a ledger to another store or namespace while gateways serve, and prove that all of it arrived.",
        more="It may be interrupted and started again. Exit code 1 if a counter or a limit differs at the end.",
    )
    command.add_argument("source", metavar="FROM_URL", help="the store of today, or @FILE with its URL")
    command.add_argument("destination", metavar="TO_URL", help="the new store, or @FILE with its URL")
    command.add_argument("--from-namespace", metavar="NAME", help="of the source (default BUDGET_NAMESPACE)")
    command.add_argument("--to-namespace", metavar="NAME", help="of the destination (default that of the source)")
    for side, of in (("from", "source"), ("to", "destination")):
        says = f"BUDGET_SHARD_BY of the {of}, empty for none (default that of the environment)"
        command.add_argument(f"--{side}-shard-by", metavar="SPEC", help=says)
    command.add_argument(
        "--until-quiet",
        type=tokens,
        default=120,
        metavar="SECONDS",
        help="end when nothing has been pending or changed at the source for so many seconds (default 120)",
    )
    command.add_argument(
        "--merge", action="store_true", help="even if the destination is in use: what is copied is added to that"
    )
    secrets = command.add_argument_group("another hash secret")
    secrets.add_argument("--to-secret", metavar="FILE", help="a file with the new BUDGET_HASH_SECRET; empty: none")
    secrets.add_argument("--tokens", metavar="FILE", help="the tokens of all keys, one a line; - reads stdin")
    secrets.add_argument(
        "--keep-unknown-keys",
        action="store_true",
        help="keys whose token is not in --tokens keep their names; without this, they are an error",
    )
    secrets.add_argument(
        "--rewrite",
        metavar="FILE",
        action="append",
        default=[],
        help="write FILE.new with the new names of keys: a file of accounts or limits",
    )


def _migrate(arguments: Namespace) -> int:
    renaming = _renaming(arguments)
    for name in arguments.rewrite:
        _rewrite(name, renaming)
    asked = Migration(
        _url(arguments.source),
        _url(arguments.destination),
        arguments.from_namespace,
        arguments.to_namespace,
        arguments.from_shard_by,
        arguments.to_shard_by,
        renaming,
        keeps_unknown_keys=arguments.keep_unknown_keys,
        is_merge=arguments.merge,
        quiet_s=float(arguments.until_quiet),
    )
    progress = MigrationProgress(sys.stderr)
    try:
        report = asyncio.run(migrate(asked, on_progress=progress))
    except OperationError as error:
        progress.end()
        raise CommandError(_with_option(str(error))) from None
    except KeyboardInterrupt:
        progress.end()
        print_error("interrupted; the same command goes on where this one stopped")
        raise
    progress.end()
    _print(report, in_json=arguments.json)
    return 0 if report.is_equal else 1


_OPTIONS = {"no token was given": "--keep-unknown-keys", "TO_URL is in use": "--merge"}


def _with_option(error: str) -> str:
    """The error, and the option that allows it all the same."""
    return "".join([error, *[f" ({option})" for start, option in _OPTIONS.items() if error.startswith(start)]])


def _url(text: str) -> str:
    if not text.startswith("@"):
        return text
    return _read(text[1:], shown=text).strip()


def _renaming(arguments: Namespace) -> Renaming:
    if arguments.to_secret is None and arguments.tokens is None:
        if arguments.rewrite or arguments.keep_unknown_keys:
            raise CommandError("--rewrite and --keep-unknown-keys: accepted with --to-secret and --tokens")
        return Renaming()
    if arguments.to_secret is None or arguments.tokens is None:
        raise CommandError(
            "--to-secret and --tokens: accepted together, since only a token gives the new name of a key"
        )
    old = load().hash_secret.get_secret_value()
    new = _read(arguments.to_secret, shown="--to-secret").strip("\r\n")
    if old == new:
        raise CommandError("--to-secret: it is the same as BUDGET_HASH_SECRET, so no key gets another name")
    return renaming_of(_tokens(arguments.tokens), old_secret=old, new_secret=new)


def _tokens(name: str) -> Iterable[str]:
    if name != "-":
        return _read(name, shown="--tokens").splitlines()
    try:
        return sys.stdin.read().splitlines()
    except ValueError:
        raise CommandError("--tokens: stdin is not text in UTF-8") from None


def _read(name: str, *, shown: str) -> str:
    """A file's text. An error names it by ``shown``: a slip of the pen may have put a secret where its name belongs."""
    try:
        return Path(name).read_text("utf-8-sig")
    except OSError as error:
        raise CommandError(
            f"{shown.partition('@')[0] or 'the file of a URL'}: {error.strerror}; {_UNREPEATED}"
        ) from None
    except ValueError:
        raise CommandError(f"{shown.partition('@')[0] or 'the file of a URL'}: it is not text in UTF-8") from None


def _rewrite(name: str, renaming: Renaming) -> None:
    try:
        text, new = renaming.text(Path(name).read_text("utf-8")), Path(f"{name}.new")
        if new.exists() and new.read_text("utf-8") != text:
            raise CommandError(f"{new}: it exists with another text, and is not overwritten")
        new.write_text(text, "utf-8")
    except OSError as error:
        raise CommandError(f"{name}: {error.strerror}") from None
    except ValueError:
        raise CommandError(f"{name}: it is not text in UTF-8") from None


def _print(report: MigrationReport, *, in_json: bool) -> None:
    warn(f"{account} keeps its name: no token was given for its key" for account in report.unrenamed)
    warn(f"limits of {pattern} are not those of the source" for pattern in report.unequal_limits)
    if in_json:
        print_json(report)
        return
    rows = sorted(report.counters, key=lambda row: row.is_equal)
    if rows:
        Table().write(table_rows(rows[:_SHOWN]))
    if len(rows) > _SHOWN:
        print_line(f"… and {counted(len(rows) - _SHOWN, 'counter')} more, which --json lists")
    print_line(_summary(report))
    for line in _next_steps(report):
        print_line(line)


def _summary(report: MigrationReport) -> str:
    n_equal = sum(row.is_equal for row in report.counters)
    n_counters, patterns = counted(len(report.counters), "counter"), counted(report.limits, "pattern")
    words = f"{n_equal} of {n_counters} equal, {patterns} of limits"
    if report.recounts:
        words += (
            f"; {counted(report.recounts, 'time')} entries of the source's journal were gone before they were read, so"
            " all of its counters were read instead"
        )
    if report.unproved:
        words += (
            f"; of {counted(report.unproved, 'counter')} the new store's own bookings are not shown, since its journal"
            " does not reach back to the beginning"
        )
    return words


def _next_steps(report: MigrationReport) -> Iterable[str]:
    if not report.is_equal:
        yield "next: budget-middleware audit at both stores, and budget-middleware explain ACCOUNT for what is unequal"
        return
    yield "next: nothing is copied any more. If a gateway may still use FROM_URL, start this command again"
    yield "      budget-middleware audit at TO_URL; then stop the old store, or delete its keys: docs/migrating.md"
