"""The history as files of Parquet, for DuckDB, pandas and data lakes."""

from budget_middleware.operations.exporting.exporting import Exported, OnExported, export_history, parse_partition

__all__ = ["Exported", "OnExported", "export_history", "parse_partition"]
