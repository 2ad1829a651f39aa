"""Runs all checks in order, settings first: nothing else can be checked without them."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Self

from budget_middleware.operations.doctor.admin import admin_findings
from budget_middleware.operations.doctor.finding import Finding, Health
from budget_middleware.operations.doctor.settings import estimate_finding, mode_finding, prices_finding
from budget_middleware.operations.doctor.spool import spool_findings
from budget_middleware.operations.doctor.store import store_findings
from budget_middleware.operations.doctor.tracer import tracer_finding
from budget_middleware.setting_types import SpansPer
from budget_middleware.settings import Settings, SettingsError
from budget_middleware.settings_loading import load


async def examine(environment: Mapping[str, str], settings: Settings | None = None) -> list[Finding]:
    """Check the settings of this process, and all that they name; ``environment`` has the variables of others.

    ``settings`` are those of a gateway in this process, which its keywords may have changed.
    """
    warnings = _Warnings()
    try:
        with warnings:
            settings = settings or load()
    except SettingsError as error:
        failed = Finding("settings", Health.FAIL, str(error), "correct this setting: no gateway starts with it")
        spans, about_settings = SpansPer.COUNTER, [failed]
    else:
        spans, about_settings = settings.spans, await _findings_of(settings)
    return [
        *about_settings,
        *(Finding("variables", Health.WARN, warning, "correct its name") for warning in warnings.messages),
        tracer_finding(spans, environment),
    ]


async def _findings_of(settings: Settings) -> list[Finding]:
    about_store = await store_findings(settings)
    about_prices = await asyncio.to_thread(prices_finding, settings)
    about_settings = [mode_finding(settings), about_prices, estimate_finding(settings)]
    return [*about_settings, *admin_findings(settings), *about_store, *spool_findings(settings)]


class _Warnings(logging.Handler):
    """Collects what reading the settings warns of, instead of stderr."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []
        self._log = logging.getLogger("budget_middleware")

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())

    def __enter__(self) -> Self:
        self._log.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._log.removeHandler(self)
