"""Maps one budget of LiteLLM's, the columns that keys, teams, users and the budget table share, to limits."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from budget_middleware.core.money import nanos_from_usd
from budget_middleware.core.payers.accounts import MODEL, encode_subject
from budget_middleware.operations.litellm_import.cells import (
    count_of,
    flag_of,
    is_empty,
    list_of,
    mapping_of,
    nanos_of,
    text_of,
    time_of,
    usd_of,
    usd_text,
)
from budget_middleware.operations.litellm_import.collector import Collector, Parts, is_like_token
from budget_middleware.operations.litellm_import.durations import window_of_reset

LIMITING: Final = re.compile(r"budget|(^|_)([io]?tp|rp)[mhd](_|$)|max_parallel|(rate|token|request|spend)s?_limit")
"""Names of columns and settings that may limit something: one that is not mapped is listed."""

_COUNTS: Final = {"tpm_limit": "tokens/minute", "rpm_limit": "requests/minute", "max_parallel_requests": "inflight"}
_PER_MODEL: Final = {"model_tpm_limit": (MODEL, "tokens/minute"), "model_rpm_limit": (MODEL, "requests/minute")}
_IN_METADATA: Final = {**_PER_MODEL, "tag_rpm_limit": ("tag", "requests/minute")}
_MAPPED: Final = {
    *("max_budget", "soft_budget", "budget_duration", "budget_reset_at", "budget_id", "budget_limits"),
    *("model_max_budget", "temp_budget_increase", "temp_budget_expiry", "team_member_budget_id"),
    *_COUNTS,
    *_IN_METADATA,
    "soft_budget_cooldown",  # Whether an alert was sent lately.
}
_REASONS: Final = {
    "tpd_limit": "it counts the tokens of batches only; tokens/day would count all",
    "budget_fallbacks": "a request over its budget is refused, not sent to another model",
    **dict.fromkeys(
        ("max_budget_alert_emails", "team_member_max_budget_alert_emails", "soft_budget_alerting_emails"),
        "nobody is mailed: add !alert=PERCENT to the limit, and watch the metric",
    ),
    "rpm_limit_type": "a limit always binds, whether the model has failed or not",
    "tpm_limit_type": "a limit always binds, whether the model has failed or not",
    "mcp_rpm_limit": "calls of MCP servers are not metered",
}


@dataclass(frozen=True, slots=True)
class Budget:
    """A budget and whose it is. ``columns`` are its own, ``name`` is what people call its account."""

    parts: Parts
    columns: Mapping[str, Any]
    where: str
    name: str = ""

    def at(self, column: str) -> str:
        return f"{self.where}: {column}"


@dataclass(frozen=True, slots=True)
class Moment:
    """When and in which zone LiteLLM's windows are looked at."""

    now: datetime
    zone: ZoneInfo


def add_budget(into: Collector, budget: Budget, moment: Moment) -> None:
    """Add every limit of a budget, what is spent of it, and list the rest."""
    if flag_of(budget.columns.get("blocked")):
        into.limit(budget.parts, "0", "/total", where=budget.at("blocked"), note="blocked in LiteLLM")
    _add_usd(into, budget, moment)
    for column, slot in _COUNTS.items():
        value = budget.columns.get(column)
        if not is_empty(value):
            with into.listing(column, budget.where):
                into.limit(budget.parts, count_of(value), slot, where=budget.at(column), note=budget.name)
    _add_models(into, budget, moment)
    _add_windows(into, budget, moment)
    with into.listing("metadata", budget.where):
        metadata = mapping_of(budget.columns.get("metadata"))
        _add_metadata(into, budget, metadata)
        _add_increase(into, budget, {**metadata, **budget.columns}, moment)
        list_unmapped(into, metadata, f"{budget.where}: metadata")
    list_unmapped(into, budget.columns, budget.where)


def is_mapped_or_explained(column: str) -> bool:
    """Whether a column that may limit something is known: to become a limit, or to be listed with a reason."""
    return not LIMITING.search(column) or column in _MAPPED or column in _REASONS


def list_unmapped(into: Collector, columns: Mapping[str, Any], where: str) -> None:
    """List whatever limits something by its name, says something, and is none of what is mapped."""
    for name, value in columns.items():
        if LIMITING.search(name) and name not in _MAPPED and not is_empty(value):
            shown = "***" if is_like_token(name) else name
            into.skip(shown, where, _REASONS.get(name, "no limit here is known for it"))


def _add_usd(into: Collector, budget: Budget, moment: Moment) -> None:
    columns = budget.columns
    for column, mode in (("max_budget", ""), ("soft_budget", "!soft")):
        if is_empty(columns.get(column)):
            continue
        with into.listing(column, budget.where):
            nanos = nanos_of(columns[column])
            if mode and not nanos:
                raise ValueError("LiteLLM ignores a soft budget of 0")
            period = into.period(text_of(columns.get("budget_duration")))
            window, note = _window(period, time_of(columns.get("budget_reset_at")), moment)
            note = "; ".join(filter(None, (budget.name, note)))
            slot = f"/{period}{mode}"
            if into.limit(budget.parts, usd_text(nanos), slot, where=budget.at(column), note=note):
                _add_spent(into, budget, window)


def _window(period: str, reset_at: datetime | None, moment: Moment) -> tuple[str, str]:
    """The window to book in what is spent, and a note where LiteLLM would have reset at another time."""
    if reset_at is None:
        return period, ""
    window = window_of_reset(period, reset_at, zone=moment.zone)
    if window is not None:
        return f"{period}:{window}", ""
    return period, f"LiteLLM would reset it at {reset_at.isoformat(timespec='minutes')} next"


def _add_spent(into: Collector, budget: Budget, window: str) -> None:
    spent = budget.columns.get("spend")
    if not is_empty(spent) and (nanos := nanos_from_usd(text_of(spent))):
        into.spent(budget.parts, usd_text(nanos), window=window)


def _add_models(into: Collector, budget: Budget, moment: Moment) -> None:
    """`model_max_budget`: a budget for each model, by LiteLLM's names of its columns or by older ones."""
    with into.listing("model_max_budget", budget.where):
        for model, entry in mapping_of(budget.columns.get("model_max_budget")).items():
            where = budget.at(f"model_max_budget.{model}")
            with into.listing(f"model_max_budget.{model}", budget.where):
                named = dict(mapping_of(entry))
                columns = {
                    "max_budget": named.pop("budget_limit", None),
                    "budget_duration": named.pop("time_period", None),
                    **named,
                }
                parts = {**budget.parts, MODEL: encode_subject(model)}
                add_budget(into, Budget(parts, columns, where, budget.name), moment)


def _add_windows(into: Collector, budget: Budget, moment: Moment) -> None:
    """`budget_limits`: further windows; what is spent of them stands in another table, so they start at 0."""
    with into.listing("budget_limits", budget.where):
        for at, entry in enumerate(list_of(budget.columns.get("budget_limits"))):
            with into.listing(f"budget_limits.{at}", budget.where):
                columns = dict(mapping_of(entry))
                columns["budget_reset_at"] = columns.pop("reset_at", None)
                add_budget(into, Budget(budget.parts, columns, budget.at(f"budget_limits.{at}"), budget.name), moment)


def _add_metadata(into: Collector, budget: Budget, metadata: Mapping[str, Any]) -> None:
    for column, (kind, slot) in _IN_METADATA.items():
        # Organizations and projects have some of them as columns.
        for place, found in (("metadata.", metadata), ("", budget.columns)):
            with into.listing(f"{place}{column}", budget.where):
                for name, count in mapping_of(found.get(column)).items():
                    parts = {**budget.parts, kind: encode_subject(name)}
                    where = budget.at(f"{place}{column}.{name}")
                    into.limit(parts, count_of(count), slot, where=where, note=budget.name)


def _add_increase(into: Collector, budget: Budget, columns: Mapping[str, Any], moment: Moment) -> None:
    if is_empty(columns.get("temp_budget_increase")) or is_empty(columns.get("max_budget")):
        return
    with into.listing("temp_budget_increase", budget.where):
        until = time_of(columns.get("temp_budget_expiry"))
        if until is not None and until > moment.now:
            usd, period = usd_of(columns["temp_budget_increase"]), into.period(text_of(columns.get("budget_duration")))
            # To the minute, downwards: it lapses no later than in LiteLLM.
            into.increased(budget.parts, f"+{usd}/{period}", until=until.astimezone(moment.zone))
