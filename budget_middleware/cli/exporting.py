"""`export`: the history as files of Parquet, for DuckDB and pandas."""

from argparse import Namespace
from pathlib import Path
from typing import Any

from budget_middleware.cli.output import print_rows
from budget_middleware.cli.parsing import CommandError, add_command, partition
from budget_middleware.cli.progress import Progress
from budget_middleware.core.periods import Period
from budget_middleware.operations.errors import OperationError
from budget_middleware.operations.exporting import export_history
from budget_middleware.operations.reports import Moments
from budget_middleware.settings_loading import load


def add_to(commands: Any) -> None:
    export = add_command(
        commands,
        "export",
        _export,
        says="Write the history as files of Parquet, for DuckDB, pandas and data lakes.",
        more="Each day or month is written whole, in place of an earlier file: the same export again changes nothing.",
    )
    export.add_argument(
        "--parquet", metavar="DIR", type=Path, required=True, help="where: DIR/bookings/month=2026-11/…"
    )
    export.add_argument(
        "--per", type=partition, default=Period.MONTH, metavar="PERIOD", help="a file for each day or month (default)"
    )
    export.add_argument("--since", metavar="TIME", help="as for `report`; from the first entry by default")
    export.add_argument("--until", metavar="TIME", help="likewise, with the day or month that is named (default now)")


def _export(arguments: Namespace) -> int:
    try:
        exported = export_history(
            load(),
            arguments.parquet,
            per=arguments.per,
            moments=Moments(arguments.since, arguments.until),
            on_exported=Progress("rows are written"),
        )
    except OperationError as error:
        raise CommandError(str(error)) from None
    print_rows(exported, in_json=arguments.json, if_none="nothing")
    return 0
