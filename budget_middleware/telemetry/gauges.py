"""The gauges of a ledger, measured when a metric reader asks."""

import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from budget_middleware.core.units import Unit, figure_number


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Gauges:
    """What one ledger knows, read in a thread of the metric reader's: all must answer at once."""

    reserved_by_kind: Callable[[], Mapping[tuple[Unit, str], int]]
    oldest_s: Callable[[], float]
    spooled: Callable[[], int]


@dataclass(frozen=True, slots=True, weakref_slot=True)
class HistoryGauges:
    """How far a history is behind its store, as the process that copies sees it."""

    lag_entries: Callable[[], int]
    lag_s: Callable[[], float]


# An instrument has one unit, so each unit of counters has its own.
_RESERVED = {
    Unit.USD: ("budget.reserved", "{USD}"),
    Unit.TOKENS: ("budget.reserved.tokens", "{token}"),
    Unit.REQUESTS: ("budget.reserved.requests", "{request}"),
    Unit.INFLIGHT: ("budget.reserved.inflight", "{request}"),
}

# An SDK keeps the first instrument of a name and forgets the callbacks of the next, so these report every ledger.
_observed: list[weakref.ref[Gauges]] = []


def observe(meter: Meter, gauges: Gauges) -> None:
    """Tell these gauges from now on, as long as the object lives."""
    _observed[:] = [*(each for each in _observed if each() is not None), weakref.ref(gauges)]
    for unit, (name, symbol) in _RESERVED.items():
        meter.create_observable_gauge(
            name,
            callbacks=[partial(_reserved, unit)],
            unit=symbol,
            description="Reserved now, by account kind.",
        )
    meter.create_observable_gauge(
        "budget.reservations.oldest",
        callbacks=[_oldest],
        unit="s",
        description="Age of the oldest reservation whose request still runs.",
    )
    meter.create_observable_gauge(
        "budget.spool.size",
        callbacks=[_spooled],
        unit="{ending}",
        description="Endings that wait for the store.",
    )


_histories: list[weakref.ref[HistoryGauges]] = []


def observe_history(meter: Meter, gauges: HistoryGauges) -> None:
    """Tell these gauges from now on, as long as the object lives."""
    _histories[:] = [*(each for each in _histories if each() is not None), weakref.ref(gauges)]
    meter.create_observable_gauge(
        "budget.history.lag",
        callbacks=[_lag_entries],
        unit="{entry}",
        description="Journal entries that are not in the history yet.",
    )
    meter.create_observable_gauge(
        "budget.history.lag.duration",
        callbacks=[_lag_s],
        unit="s",
        description="Age of the last entry in the history, where some are not in it yet.",
    )


def _lag_entries(_: CallbackOptions) -> Iterable[Observation]:
    return [Observation(max((gauges.lag_entries() for gauges in _history_gauges()), default=0))]


def _lag_s(_: CallbackOptions) -> Iterable[Observation]:
    return [Observation(max((gauges.lag_s() for gauges in _history_gauges()), default=0.0))]


def _history_gauges() -> list[HistoryGauges]:
    return [gauges for each in list(_histories) if (gauges := each()) is not None]


def _gauges() -> list[Gauges]:
    return [gauges for each in list(_observed) if (gauges := each()) is not None]


def _reserved(unit: Unit, _: CallbackOptions) -> Iterable[Observation]:
    """Ledgers of one store report the same totals, as of the last sweep of each."""
    totals: dict[str, int] = {}
    for gauges in _gauges():
        for (of, kind), reserved in gauges.reserved_by_kind().items():
            if of is unit:
                totals[kind] = max(totals.get(kind, 0), reserved)
    return [Observation(figure_number(reserved, unit), {"kind": kind}) for kind, reserved in totals.items()]


def _oldest(_: CallbackOptions) -> Iterable[Observation]:
    return [Observation(max((gauges.oldest_s() for gauges in _gauges()), default=0.0))]


def _spooled(_: CallbackOptions) -> Iterable[Observation]:
    return [Observation(sum(gauges.spooled() for gauges in _gauges()))]
