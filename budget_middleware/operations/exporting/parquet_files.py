"""Files of Parquet, one for each table and part of time, written in portions so that little is in memory."""

import os
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from budget_middleware.history.export_tables import CONVERT, ColumnType, ExportTable
from budget_middleware.operations.errors import OperationError

PORTION = 50_000
"""So many rows are in memory at once, and make a row group of a file."""


def load_pyarrow() -> ModuleType:
    """OperationError, in one line, where it is not installed."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError:
        raise OperationError("Parquet cannot be written without `pip install 'budget-middleware[parquet]'`") from None
    module: ModuleType = pyarrow
    return module


class PartWriter:
    """Writes one file. It has its name only once it is whole: nobody ever reads half a file."""

    def __init__(self, arrow: ModuleType, table: ExportTable, folder: Path) -> None:
        self._arrow = arrow
        self._types = [of for _, of in table.columns.values()]
        self._schema = arrow.schema([(name, _type(arrow, of)) for name, (_, of) in table.columns.items()])
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "part-0.parquet"
        self._unfinished = folder / f".part-0.{os.getpid()}.unfinished"
        self._rows: list[Sequence[Any]] = []
        self.n_rows = 0
        self._writer = arrow.parquet.ParquetWriter(self._unfinished, self._schema, compression="zstd")

    def add(self, row: Sequence[Any]) -> None:
        self._rows.append(row)
        self.n_rows += 1
        if len(self._rows) >= PORTION:
            self._write()

    def _write(self) -> None:
        if not self._rows:
            return
        arrays = [
            self._arrow.array(list(map(CONVERT[of], values)) if of in CONVERT else values, field.type)
            for of, values, field in zip(self._types, zip(*self._rows, strict=True), self._schema, strict=True)
        ]
        self._writer.write_batch(self._arrow.record_batch(arrays, schema=self._schema))
        self._rows.clear()

    def finish(self) -> None:
        """Put the file in the place of an earlier one."""
        self._write()
        self._writer.close()
        self._unfinished.replace(self.path)

    def abandon(self) -> None:
        self._writer.close()
        self._unfinished.unlink(missing_ok=True)


def _type(arrow: ModuleType, of: ColumnType) -> Any:
    match of:
        case ColumnType.NAME:
            return arrow.dictionary(arrow.int32(), arrow.string())
        case ColumnType.WHOLE:
            return arrow.int64()
        case ColumnType.TIME:
            return arrow.timestamp("ms", tz="UTC")
        case ColumnType.YES_NO:
            return arrow.bool_()
        case ColumnType.TEXTS:
            return arrow.list_(arrow.string())
        case _:
            return arrow.string()
