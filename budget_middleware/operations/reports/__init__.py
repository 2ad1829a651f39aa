"""Reports: what was asked for, used, spent and refused, by accounts, models and time."""

from budget_middleware.operations.reports.making import make_report
from budget_middleware.operations.reports.missing import Missing
from budget_middleware.operations.reports.query import Moments, ReportQuery, parse_by, parse_per
from budget_middleware.operations.reports.rows import KindSum, Report, ReportRow

__all__ = [
    "KindSum",
    "Missing",
    "Moments",
    "Report",
    "ReportQuery",
    "ReportRow",
    "make_report",
    "parse_by",
    "parse_per",
]
