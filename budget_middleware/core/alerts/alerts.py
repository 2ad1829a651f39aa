"""What operators are told: an alert, its id, and its words. When it is told, `rules` says."""

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from budget_middleware.core.answers import Entry
from budget_middleware.core.fast import FastStrEnum
from budget_middleware.core.limits.limits import LimitMode
from budget_middleware.core.limits.modes import Threshold
from budget_middleware.core.model import Counter, Reservation
from budget_middleware.core.units import Unit, format_figure


class AlertRule(FastStrEnum):
    """Why operators are alerted."""

    SPENT = "spent"
    FORECAST = "forecast"
    OLD_HOLD = "old_hold"
    DRIFT = "drift"
    JOURNAL_GAP = "journal_gap"
    STORE_AWAY = "store_away"
    TEST = "test"


class Severity(FastStrEnum):
    """How urgent an alert is, in the words of PagerDuty."""

    CRITICAL = "critical"
    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class Alert(NamedTuple):
    """What operators are told. ``topic`` is the same for alerts that one incident is about: PagerDuty joins these.

    ``facts`` are figures and names for programs. ``account`` is empty where the whole ledger is meant.
    """

    id: str
    rule: AlertRule
    severity: Severity
    account: str
    summary: str
    time_ms: int
    seq: int = 0
    topic: str = ""
    facts: Mapping[str, str] = {}


def alert_id(*parts: object) -> str:
    """The id of what is said by these parts, the same in every process."""
    return hashlib.sha256("\x1f".join(map(str, parts)).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def threshold_alert(
    ledger: str, counter: Counter, threshold: Threshold, *, spent: int, entry: Entry | None, time_ms: int
) -> Alert:
    """An alert of a threshold: one for each account, limit, threshold and window. ``entry`` is the one that crossed it.

    The window of a rolling ``counter`` is not a bucket: see `rules.alerted_counter`.
    """
    account, period, window, unit = counter
    limit = "limit" if threshold.mode is LimitMode.ENFORCE else f"{threshold.mode} limit"
    late = "" if entry else "; found late, since journal entries were missed"
    return Alert(
        id=alert_id(ledger, AlertRule.SPENT, *counter, threshold.mode, threshold.limit, threshold.percent),
        rule=AlertRule.SPENT,
        severity=Severity.ERROR if threshold.percent >= 100 else Severity.WARNING,
        account=account,
        summary=(
            f"{account} has spent {format_figure(spent, unit)} of its {limit} of"
            f" {format_figure(threshold.limit, unit)} for {period} {window}, which is {threshold.percent} % or"
            f" more{late}"
        ),
        time_ms=time_ms,
        seq=entry.seq if entry else 0,
        topic=alert_id(ledger, AlertRule.SPENT, *counter, threshold.mode),
        facts=_counter_facts(counter, limit=threshold.limit, spent=spent)
        | {"mode": str(threshold.mode), "percent": str(threshold.percent)}
        | ({"reservation_id": entry.reservation_id, "op": str(entry.op)} if entry else {}),
    )


def forecast_alert(
    ledger: str, counter: Counter, *, spent: int, expected: int, limit: int, number: int, time_ms: int
) -> Alert:
    """An alert of a forecast; ``number`` counts how often it began in this window."""
    account, period, window, unit = counter
    return Alert(
        id=alert_id(ledger, AlertRule.FORECAST, *counter, limit, number),
        rule=AlertRule.FORECAST,
        severity=Severity.WARNING,
        account=account,
        summary=(
            f"{account} spends too fast: {format_figure(spent, unit)} so far for {period} {window}, at this pace"
            f" {format_figure(expected, unit)} by its end, of a limit of {format_figure(limit, unit)}"
        ),
        time_ms=time_ms,
        topic=alert_id(ledger, AlertRule.FORECAST, *counter),
        facts=_counter_facts(counter, limit=limit, spent=spent) | {"forecast": format_figure(expected, unit)},
    )


def hold_alert(ledger: str, hold: Reservation, *, now_ms: int) -> Alert:
    account = hold.targets[0].account if hold.targets else ""
    minutes = (now_ms - hold.created_ms) // 60_000
    return Alert(
        id=alert_id(ledger, AlertRule.OLD_HOLD, hold.id),
        rule=AlertRule.OLD_HOLD,
        severity=Severity.WARNING,
        account=account,
        summary=(
            f"reservation {hold.id} of {account} holds {format_figure(hold.held.usd, Unit.USD)} for {minutes} minutes:"
            " its request still runs, or its owner never ends it"
        ),
        time_ms=now_ms,
        topic=alert_id(ledger, AlertRule.OLD_HOLD, hold.id),
        facts={"reservation_id": hold.id, "age_s": str((now_ms - hold.created_ms) // 1000)},
    )


def drift_alert(ledger: str, found: list[str], *, day: str, time_ms: int) -> Alert:
    """An alert of what the audit of a day found, each in a line."""
    return Alert(
        id=alert_id(ledger, AlertRule.DRIFT, day, *sorted(found)),
        rule=AlertRule.DRIFT,
        severity=Severity.CRITICAL,
        account="",
        summary=f"the nightly audit of {ledger} found {len(found)} figures that nothing explains; first: {found[0]}",
        time_ms=time_ms,
        topic=alert_id(ledger, AlertRule.DRIFT),
        facts={"found": str(len(found)), "day": day},
    )


def gap_alert(ledger: str, journal: str, why: str, *, seq: int, time_ms: int) -> Alert:
    """An alert that entries of a journal (the name of a shard, or "") were missed before a seq."""
    of = f"shard {journal} of {ledger}" if journal else ledger
    return Alert(
        id=alert_id(ledger, AlertRule.JOURNAL_GAP, journal, why, seq),
        rule=AlertRule.JOURNAL_GAP,
        severity=Severity.ERROR,
        account="",
        summary=f"the journal of {of} was not seen whole: {why}; thresholds are looked at by what is spent now",
        time_ms=time_ms,
        seq=seq,
        topic=alert_id(ledger, AlertRule.JOURNAL_GAP, journal),
        facts={"journal": journal, "seq": str(seq)},
    )


def away_alert(ledger: str, *, worker: str, since_ms: int, now_ms: int) -> Alert:
    """An alert of a store that a worker cannot reach. Those of all workers have one topic."""
    return Alert(
        id=alert_id(ledger, AlertRule.STORE_AWAY, worker, since_ms),
        rule=AlertRule.STORE_AWAY,
        severity=Severity.CRITICAL,
        account="",
        summary=f"the store of {ledger} gives no answer to worker {worker} for {(now_ms - since_ms) // 1000} seconds",
        time_ms=now_ms,
        topic=alert_id(ledger, AlertRule.STORE_AWAY),
        facts={"worker": worker, "away_s": str((now_ms - since_ms) // 1000)},
    )


def trial_alert(ledger: str, *, time_ms: int) -> Alert:
    return Alert(
        id=alert_id(ledger, AlertRule.TEST, time_ms),
        rule=AlertRule.TEST,
        severity=Severity.INFO,
        account="",
        summary=f"a test of the alerts of {ledger}: nothing has happened",
        time_ms=time_ms,
        topic=alert_id(ledger, AlertRule.TEST),
    )


def _counter_facts(counter: Counter, *, limit: int, spent: int) -> dict[str, str]:
    account, period, window, unit = counter
    return {
        "account": account,
        "period": str(period),
        "window": window,
        "unit": str(unit),
        "limit": format_figure(limit, unit),
        "spent": format_figure(spent, unit),
    }


def pack_alert(alert: Alert) -> dict[str, Any]:
    """The alert as JSON has it."""
    return {**alert._asdict(), "facts": dict(alert.facts)}


def unpack_alert(fields: Mapping[str, Any]) -> Alert:
    """ValueError, KeyError or TypeError for what is none; fields that a newer version has written are left out."""
    known = {name: fields[name] for name in Alert._fields}
    return Alert(**known)._replace(rule=AlertRule(known["rule"]), severity=Severity(known["severity"]))
