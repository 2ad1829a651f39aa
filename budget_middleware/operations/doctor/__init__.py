"""The doctor: checks of settings, store and telemetry, each with what it found and how to fix it."""

from budget_middleware.operations.doctor.examination import examine
from budget_middleware.operations.doctor.finding import Finding, Health
from budget_middleware.operations.doctor.next_step import next_step

__all__ = ["Finding", "Health", "examine", "next_step"]
