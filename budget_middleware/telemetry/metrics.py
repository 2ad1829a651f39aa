"""What is counted and measured of one ledger. Attributes are bounded: no account, and of models only known names."""

import functools
import math
import time
from collections.abc import Callable
from typing import Concatenate, ParamSpec

from opentelemetry import metrics
from opentelemetry.context import Context

from budget_middleware.core.money import NANOS_PER_USD
from budget_middleware.core.payers.accounts import kind_of
from budget_middleware.core.statuses import Op
from budget_middleware.package_version import package_version
from budget_middleware.telemetry.gauges import Gauges, HistoryGauges, observe, observe_history
from budget_middleware.telemetry.harmless import harmless

_NAME = "budget_middleware"

# Milliseconds matter here, and an SDK's own bounds begin at 5 s.
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_SECONDS_OF_WAITING = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0)
_RATIOS = (0.1, 0.25, 0.5, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0)


LOOKED_FOR_EVERY_S = 1.0
"""Without a meter provider no metric is made, and one is looked for at most so often."""

_OP_ATTRIBUTES = {op: {"op": op.value} for op in Op}


@harmless
def _get_meter() -> metrics.Meter:
    return metrics.get_meter(_NAME, package_version())


@harmless
def _has_meter_provider() -> bool:
    """Whether metrics go anywhere: those of the API itself only wait for a provider, or are there to do nothing."""
    return not type(metrics.get_meter_provider()).__module__.startswith("opentelemetry.metrics")


_P = ParamSpec("_P")


def received(count: Callable[Concatenate["Metrics", _P], None]) -> Callable[Concatenate["Metrics", _P], None]:
    """Counts only where somebody receives it, and does no harm there."""
    counted = harmless(count)

    @functools.wraps(count)
    def count_if_received(self: "Metrics", /, *args: _P.args, **kwargs: _P.kwargs) -> None:
        if self.is_received or self.look(time.monotonic()):
            counted(self, *args, **kwargs)

    return count_if_received


class Metrics:
    """The metrics of one ledger. A context gives exemplars the trace of a figure; None is the current one."""

    def __init__(self) -> None:
        found = _get_meter()
        meter = found or metrics.NoOpMeter(_NAME)
        self._reserve_duration = meter.create_histogram(
            "budget.reserve.duration",
            unit="s",
            description="Time that a request waits for its reservation.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self._wait_duration = meter.create_histogram(
            "budget.wait.duration",
            unit="s",
            description="Time that a request waits for budget that others hold, and how that ends.",
            explicit_bucket_boundaries_advisory=_SECONDS_OF_WAITING,
        )
        self._store_duration = meter.create_histogram(
            "budget.store.duration",
            unit="s",
            description="Time of one call that the store answered.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self._estimate_ratio = meter.create_histogram(
            "budget.estimate.ratio",
            unit="1",
            description="Estimated over actual cost of a request.",
            explicit_bucket_boundaries_advisory=_RATIOS,
        )
        self._meter = meter
        # Whether anybody receives what is counted. A request looks once, and counts nothing if not.
        self.is_received = False
        # Never where the environment names a provider that cannot be loaded: each look for it would be logged.
        self.look_at_s = math.inf if found is None else 0.0
        self._gauges: Gauges | None = None
        self._make_counters(meter)
        self._begin_at_zero()

    def _make_counters(self, meter: metrics.Meter) -> None:
        counter = meter.create_counter
        self._requests = counter("budget.requests", unit="{request}", description="Requests by what became of them.")
        self._cost = counter("budget.cost", unit="{USD}", description="Cost booked.")
        self._expired = counter("budget.reservations.expired", unit="{reservation}", description="Leases that ran out.")
        self._grown = counter(
            "budget.reservations.grown", unit="{reservation}", description="Reservations whose answer outgrew them."
        )
        self._lost = counter(
            "budget.spool.lost", unit="{ending}", description="Endings for which there was no room to wait."
        )
        self._unlogged = counter(
            "budget.refusals.unlogged", unit="{refusal}", description="Refusals that the log of them lacks."
        )
        self._unreconciled = counter(
            "budget.usages.unreconciled", unit="{usage}", description="Usages booked at the larger of two readings."
        )
        self._passed = counter(
            "budget.limits.passed", unit="{request}", description="Requests over a limit that refuses nothing."
        )
        self._raised = counter("budget.alerts.raised", unit="{alert}", description="Alerts by the rule behind them.")
        self._deliveries = counter(
            "budget.alerts.deliveries", unit="{delivery}", description="Alerts sent to receivers, by outcome."
        )
        self._alerts = counter("budget.alerts", unit="{alert}", description="Thresholds of limits that were crossed.")

    def look(self, now_s: float) -> bool:
        """Look for a meter provider, unless that was done lately. One that was set is never taken away."""
        if now_s >= self.look_at_s:
            self.is_received = bool(_has_meter_provider())
            self.look_at_s = math.inf if self.is_received else now_s + LOOKED_FOR_EVERY_S
        return self.is_received

    @harmless
    def _begin_at_zero(self) -> None:
        """Export 0 at the start: `rate()` misses the first increment of a series that did not exist."""
        for counter in (self._expired, self._lost, self._unlogged):
            counter.add(0)
        # Of their many series one is enough for a dashboard to find the metric.
        self._unreconciled.add(0, {"kind": "total_above_parts", "model": "other"})
        self._grown.add(0, {"model": "other"})
        for mode in ("soft", "shadow"):
            self._passed.add(0, {"kind": "key", "mode": mode, "unit": "usd"})
        self._raised.add(0, {"rule": "spent"})
        self._deliveries.add(0, {"shape": "webhook", "outcome": "failed"})
        self._alerts.add(0, {"kind": "key", "mode": "enforce", "unit": "usd", "percent": 100})

    @received
    def count_reserve(self, *, seconds: float, status: str, context: Context | None) -> None:
        self._reserve_duration.record(seconds, {"status": status}, context)

    @received
    def count_wait(self, *, seconds: float, end: str, context: Context | None) -> None:
        self._wait_duration.record(seconds, {"end": str(end)}, context)

    @received
    def count_call(self, op: Op, *, seconds: float) -> None:
        self._store_duration.record(seconds, _OP_ATTRIBUTES[op])

    @received
    def count_request(self, *, status: str, model: str, context: Context | None = None) -> None:
        self._requests.add(1, {"status": status, "model": model}, context)

    @received
    def count_cost(self, *, actual_nanos: int, estimate_nanos: int, model: str, context: Context | None = None) -> None:
        self._cost.add(actual_nanos / NANOS_PER_USD, {"model": model}, context)
        if actual_nanos > 0:
            self._estimate_ratio.record(estimate_nanos / actual_nanos, {"model": model}, context)

    @received
    def count_unreconciled(self, *, kind: str, model: str) -> None:
        self._unreconciled.add(1, {"kind": kind, "model": model})

    @received
    def count_grown(self, *, model: str) -> None:
        self._grown.add(1, {"model": model})

    @received
    def count_passed(self, *, account: str, mode: str, unit: str, context: Context | None) -> None:
        self._passed.add(1, {"kind": kind_of(account), "mode": str(mode), "unit": str(unit)}, context)

    @received
    def count_alert(self, *, account: str, mode: str, unit: str, percent: int, context: Context | None) -> None:
        limit: dict[str, str | int] = {"kind": kind_of(account), "mode": str(mode), "unit": str(unit)}
        self._alerts.add(1, {**limit, "percent": percent}, context)

    @received
    def count_raised(self, *, rule: str) -> None:
        self._raised.add(1, {"rule": str(rule)})

    @received
    def count_delivery(self, *, shape: str, outcome: str) -> None:
        self._deliveries.add(1, {"shape": str(shape), "outcome": outcome})

    @received
    def count_lost(self) -> None:
        self._lost.add(1)

    @received
    def count_unlogged(self, refusals: int) -> None:
        self._unlogged.add(refusals)

    @received
    def count_expired(self, reservations: int) -> None:
        self._expired.add(reservations)

    @harmless
    def observe(self, gauges: Gauges) -> None:
        """Tell a ledger's gauges from now on, as long as this object lives."""
        self._gauges = gauges
        observe(self._meter, gauges)

    @harmless
    def observe_history(self, gauges: HistoryGauges) -> None:
        """Tell those of a history from now on, as long as whoever made them lives."""
        observe_history(self._meter, gauges)
