"""From a plan that breaks a promise to the shortest one that still does."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from tests.simulation.plan import Plan


def shrink(plan: Plan, breaks: Callable[[Plan], bool]) -> Plan:
    """Leave out what can be left out, in ever smaller pieces, then simplify what stays."""
    plan = plan.of(_fewest(plan.parts, lambda parts: breaks(plan.of(parts))))
    for change in (
        {"skews_ms": (0,) * plan.workers},
        {"has_spool": False},
        {"learns": False},
        {"on_abort": "partial"},
        {"on_expire": "release"},
        {"on_store_error": "open"},
        {"limit_in_estimates": 1_000},
        {"starts_ms_before_hour": 1_800_000},
    ):
        simpler = replace(plan, **change)  # type: ignore[arg-type]
        if simpler != plan and breaks(simpler):
            plan = simpler
    return plan.of(_fewest(plan.parts, lambda parts: breaks(plan.of(parts))))


def _fewest(parts: Sequence[object], breaks: Callable[[tuple[object, ...]], bool]) -> tuple[object, ...]:
    """Delta debugging: no single one of the parts that are left can be left out."""
    kept = tuple(parts)
    size = max(1, len(kept) // 2)
    while kept:
        at, removed = 0, False
        while at < len(kept):
            fewer = kept[:at] + kept[at + size :]
            if breaks(fewer):
                kept, removed = fewer, True
            else:
                at += size
        if size > 1:
            size //= 2
        elif not removed:
            break
    return kept
