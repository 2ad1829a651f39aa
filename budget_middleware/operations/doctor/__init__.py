"""The doctor: checks of settings, store and telemetry, each with what it found and how to fix it."""

from budget_middleware.operations.doctor.examination import examine
from budget_middleware.operations.doctor.finding import Finding, Health

__all__ = ["Finding", "Health", "examine"]
