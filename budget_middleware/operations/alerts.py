"""What operators were told, what waits to be sent and what could not be, and a test of those who are told."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from budget_middleware.alerts.board import Board
from budget_middleware.alerts.courier import send
from budget_middleware.alerts.queue import Queued, Sending, read_queue
from budget_middleware.core.alerts.alerts import AlertRule, Severity, trial_alert
from budget_middleware.core.alerts.plan import Receiver
from budget_middleware.operations.context import OperatorContext
from budget_middleware.operations.errors import OperationError
from budget_middleware.operations.values import iso


class AlertState(StrEnum):
    """What has become of an alert at all of its receivers together."""

    FAILED = "failed"  # One of them did not take it.
    PENDING = "pending"  # It waits for one of them.
    SENT = "sent"


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """An alert at one receiver, which is named without its secrets. ``why`` is what it answered last, if it did not
    take it.
    """

    receiver: str
    state: str
    tries: int
    next_at: str | None
    why: str


@dataclass(frozen=True, slots=True)
class AlertRow:
    """One alert. ``facts`` are figures and names for programs, by rule."""

    id: str
    time: str
    rule: AlertRule
    severity: Severity
    account: str
    state: AlertState
    summary: str
    facts: Mapping[str, str]
    deliveries: tuple[DeliveryRow, ...]


@dataclass(frozen=True, slots=True)
class AlertsReport:
    """The alerts that are kept, the newest first.

    ``receivers`` are those that the settings here name. ``followed_by`` is the worker that tells, None where no gateway
    with BUDGET_ALERTS runs; ``left_out`` alerts found no room in the queue, the last of them at ``left_out_at``.
    """

    followed_by: str | None
    receivers: tuple[str, ...]
    left_out: int
    left_out_at: str | None
    alerts: tuple[AlertRow, ...]


@dataclass(frozen=True, slots=True)
class TrialRow:
    """What one receiver answered to a test: ``status`` is that of HTTP, 0 where there was no answer."""

    receiver: str
    is_taken: bool
    status: int
    why: str


async def read_alerts(
    context: OperatorContext, *, state: AlertState | None = None, account: str | None = None
) -> AlertsReport:
    """The alerts of a state, or of an account; of all of them, the last few hundred that were sent."""
    now_ms = (await context.store.head()).now_ms
    board = Board(context.store, owner="")
    await board.look()
    lease, left_out = board.get("lease"), board.get("left_out")
    is_followed = lease.get("owner") and lease.get("until_ms", 0) > now_ms
    rows = [_row(queued) for queued in await read_queue(context.store)]
    plan = context.settings.alerts
    return AlertsReport(
        followed_by=str(lease["owner"]) if is_followed else None,
        receivers=tuple(receiver.name for receiver in plan.receivers) if plan else (),
        left_out=int(left_out.get("alerts", 0)),
        left_out_at=iso(left_out["last_ms"]) if left_out else None,
        alerts=tuple(row for row in reversed(rows) if state in (None, row.state) and account in (None, row.account)),
    )


async def send_trial(context: OperatorContext) -> tuple[TrialRow, ...]:
    """Send a test to each receiver, at once and once. OperationError where there is none."""
    plan = context.settings.alerts
    if plan is None or not plan.receivers:
        raise OperationError("BUDGET_ALERTS names no receiver; set it as the gateway's is")
    return tuple(await asyncio.gather(*(_try(context, receiver) for receiver in plan.receivers)))


async def _try(context: OperatorContext, receiver: Receiver) -> TrialRow:
    ledger = context.settings.namespace
    answered = await send(trial_alert(ledger, time_ms=time.time_ns() // 1_000_000), receiver, ledger=ledger)
    return TrialRow(receiver.name, answered.is_taken, answered.status, answered.why)


def _row(queued: Queued) -> AlertRow:
    alert = queued.alert
    return AlertRow(
        id=alert.id,
        time=iso(alert.time_ms),
        rule=alert.rule,
        severity=alert.severity,
        account=alert.account,
        state=_state(queued),
        summary=alert.summary,
        facts=dict(alert.facts),
        deliveries=tuple(
            DeliveryRow(name, str(each.state), each.tries, iso(each.next_ms) if each.next_ms else None, each.why)
            for name, each in queued.deliveries.items()
        ),
    )


def _state(queued: Queued) -> AlertState:
    states = {each.state for each in queued.deliveries.values()}
    if Sending.FAILED in states:
        return AlertState.FAILED
    return AlertState.PENDING if Sending.PENDING in states else AlertState.SENT
