"""Tells of the limits that refuse nothing: requests that go over them, and alerts that endings set off.

Theory of operation. `core/limits/modes.py` judges; this says so where people look: an event on the span of the verb, a
metric, and in the log one line a counter (soft limits) or a threshold (alerts).

Which alerts a worker sees: those that its own calls of the store set off, for each call knows exactly from where to
where it took *spent*. An ending has the terms that bound its request. Leases that a call expires in passing, and
corrections, may be of requests of any worker: of these the terms are known that requests of this worker had lately.
"""

import logging
import time
from collections import ChainMap

from budget_middleware.core.answers import Answer
from budget_middleware.core.limits.limits import LimitMode
from budget_middleware.core.limits.modes import Crossing, Passed, Watch, crossings, passed_limits, passed_unenforced
from budget_middleware.core.model import Counter
from budget_middleware.core.units import format_figure
from budget_middleware.ledger.holds.hold import Hold
from budget_middleware.telemetry import Telemetry, VerbSpan, names

KNOWN_MAX = 4_096
"""Of so many counters the terms are remembered, and whether their soft limits were told."""

LINES_MAX = 100
"""So many lines are logged in a minute: who names another end user in each request may pass a limit in each."""

MINUTE_S = 60.0

_EVENTS = {LimitMode.SOFT: names.SOFT_LIMIT_EVENT, LimitMode.SHADOW: names.SHADOW_LIMIT_EVENT}

_log = logging.getLogger("budget_middleware")


class LimitWatch:
    """Watches the calls of one ledger."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._watches: dict[Counter, Watch] = {}
        self._limits_version = -1
        self._logged: dict[tuple[Counter, int], None] = {}
        self._lines, self._lines_since_s, self._left_out = 0, -MINUTE_S, 0

    def remember(self, watches: tuple[Watch, ...], *, limits_version: int) -> None:
        """Know what binds these counters, as of a version of the runtime limits."""
        if limits_version != self._limits_version or len(self._watches) > KNOWN_MAX:
            # What was changed may have been lifted.
            self._watches.clear()
            self._limits_version = limits_version
        for watch in watches:
            self._watches[watch.target.counter] = watch

    def judge(self, hold: Hold, answer: Answer, span: VerbSpan) -> tuple[Passed, ...]:
        """The limits that a request goes over which the answer admits: soft and shadow ones, and if the worker
        enforces none all others too. They are counted, and told on the span.
        """
        targets = answer.recorded.targets if answer.recorded else hold.targets
        if len(targets) != len(answer.balances):
            return ()
        figures = {target.counter: balance for target, balance in zip(targets, answer.balances, strict=True)}
        passed = passed_limits(hold.watches, figures, asked=hold.asked)
        if answer.rejection is not None:
            passed += passed_unenforced(answer.rejection, targets, answer.balances, asked=hold.asked)
        for each in passed:
            self._report_passed(each, span)
        return tuple(passed)

    def _report_passed(self, passed: Passed, span: VerbSpan) -> None:
        # Where a worker enforces no limit, each is a shadow limit, and the span has what refused it in its attributes.
        mode = LimitMode.SHADOW if passed.mode is LimitMode.ENFORCE else passed.mode
        if passed.mode is mode:
            self._telemetry.spans.add_event(span, _EVENTS[mode], lambda: names.passed_attributes(passed))
        target = passed.rejection.target
        self._telemetry.metrics.count_passed(account=target.account, mode=mode, unit=target.unit, context=span.context)
        if mode is LimitMode.SOFT:
            self._log_once(passed)

    def _log_once(self, passed: Passed) -> None:
        target, limit = passed.rejection.target, passed.rejection.limit
        logged = target.counter, limit
        if logged in self._logged or not self._has_line():
            return
        if len(self._logged) >= KNOWN_MAX:
            del self._logged[next(iter(self._logged))]
        self._logged[logged] = None
        _log.warning(
            "the soft limit of %s for %s %s is passed: %s of %s are spent or reserved",
            target.account,
            target.window.period,
            target.window.id,
            format_figure(passed.used, target.unit),
            format_figure(limit, target.unit),
        )

    def _has_line(self) -> bool:
        """Whether one more line may be logged; how many were not is told in the first of a later minute."""
        now_s = time.monotonic()
        if now_s - self._lines_since_s >= MINUTE_S:
            if self._left_out:
                _log.warning("%d more soft limits and alerts are in metrics and spans alone", self._left_out)
            self._lines, self._lines_since_s, self._left_out = 0, now_s, 0
        self._lines += 1
        self._left_out += self._lines > LINES_MAX
        return self._lines <= LINES_MAX

    def look_for_alerts(self, answer: Answer, span: VerbSpan, *, watches: tuple[Watch, ...]) -> None:
        """Tell of the thresholds that a call has crossed, by the entries that its answer has."""
        if not (watches or self._watches):
            return
        # Of its own request a call knows the terms, whatever was changed or forgotten since.
        known = ChainMap({watch.target.counter: watch for watch in watches}, self._watches)
        for crossing in crossings(known, answer):
            self._report_crossing(crossing, span)

    def _report_crossing(self, crossing: Crossing, span: VerbSpan) -> None:
        (account, period, window, unit), threshold = crossing.counter, crossing.threshold
        self._telemetry.spans.add_event(span, names.ALERT_EVENT, lambda: names.crossing_attributes(crossing))
        if self._telemetry.has_follower:
            return
        self._telemetry.metrics.count_alert(
            account=account, mode=threshold.mode, unit=unit, percent=threshold.percent, context=span.context
        )
        if not self._has_line():
            return
        _log.warning(
            "alert: %s has spent %s of its %s of %s for %s %s, which is %d %% or more",
            account,
            format_figure(crossing.spent, unit),
            "limit" if threshold.mode is LimitMode.ENFORCE else f"{threshold.mode} limit",
            format_figure(threshold.limit, unit),
            period,
            window,
            threshold.percent,
        )
