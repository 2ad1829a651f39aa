"""The journal of a batch of verbs: its new steps, and what becomes of those before them."""

from budget_middleware.core.payers.accounts import kind_of
from budget_middleware.core.statuses import Op
from budget_middleware.stores.sql import rows
from budget_middleware.stores.sql.batch_data import Writes
from budget_middleware.stores.sql.changes import Changes
from budget_middleware.stores.sql.rows import ReserveStep
from budget_middleware.stores.tables import Step


class StepSet:
    """See ``Tables``. ``voided`` is how many steps are voided by now."""

    def __init__(self, changes: Changes, reserve_steps: dict[str, ReserveStep]) -> None:
        self.voided = 0
        self._set = changes.set
        self._reserve_steps = reserve_steps
        self._steps: dict[int, tuple[Step, bool]] = {}
        self._moved: dict[int, None] = {}
        self._trim: dict[str, int] = {}

    def append(self, step: Step, *, is_voided: bool) -> None:
        self._set(self._steps, step.last_seq, (step, is_voided))
        self.voided += is_voided
        if step.op is Op.RESERVE:
            reserve = ReserveStep(step.last_seq, step.entries, len(step.targets))
            self._set(self._reserve_steps, step.reservation_id, reserve)

    def void(self, reservation_id: str) -> int:
        reserve = self._reserve_steps.get(reservation_id)
        if reserve is None or reserve.entries <= self._trim.get("journal", reserve.entries - 1):
            return 0
        if reserve.seq in self._steps:
            self._set(self._steps, reserve.seq, (self._steps[reserve.seq][0], True))
        else:
            self._set(self._moved, reserve.seq, None)
        self.voided += 1
        return reserve.n_entries

    def trim(self, *, entries: int) -> None:
        if entries > self._trim.get("journal", 0):
            self._set(self._trim, "journal", entries)

    def trim_voided(self, *, at_most: int) -> None:
        if self.voided <= at_most:
            return
        if at_most == 0:
            # That opens a verb, and no verb before it in the batch has voided any: their time would not be over.
            self._set(self._trim, "all voided", 1)
        else:
            self._set(self._trim, "voided", self._trim.get("voided", 0) + self.voided - at_most)
        self.voided = at_most

    def is_changed(self) -> bool:
        return bool(self._steps or self._trim)

    def write(self, writes: Writes) -> None:
        writes.clear_voided = "all voided" in self._trim
        writes.drop_voided = self._trim.get("voided", 0)
        writes.trim = self._trim.get("journal")
        writes.void = list(self._moved)
        freed: dict[str, None] = {}
        totals: dict[tuple[str, str], int] = {}
        for step, is_voided in self._steps.values():
            (writes.put_voided if is_voided else writes.put_steps).append(rows.step_row(step))
            held = {
                # Once an account, whatever its periods.
                (target.unit, target.account): reserved_delta
                for target, reserved_delta in zip(step.targets, step.figures[1::4], strict=True)
            }
            freed |= {account: None for (_, account), reserved_delta in held.items() if reserved_delta < 0}
            # A repaired counter was wrong, and the totals need not be.
            if step.op is not Op.ADJUST:
                for (unit, account), reserved_delta in held.items():
                    kind = (unit.value, kind_of(account))
                    totals[kind] = totals.get(kind, 0) + reserved_delta
        writes.freed = list(freed)
        writes.totals = [(*kind, reserved) for kind, reserved in totals.items() if reserved]
