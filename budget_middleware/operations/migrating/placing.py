"""Holds amounts at one of the two ledgers without asking its limits."""

from collections.abc import Callable
from functools import partial
from zoneinfo import ZoneInfo

from budget_middleware.core.answers import Answer
from budget_middleware.core.model import Reservation, Target
from budget_middleware.core.units import NOTHING, Amounts
from budget_middleware.core.verbs import Reserve
from budget_middleware.core.windows import is_rolling, window_at
from budget_middleware.operations.migrating.renaming import Renaming
from budget_middleware.operations.migrating.sides import Side

LEASE_MS = 60_000
"""If the migration is cut off, what it holds is given back after so long."""
RENEWED_S = LEASE_MS / 3 / 1000
_ATTEMPTS = 20

TargetsOf = Callable[[int], tuple[Target, ...]]
"""What to hold on at a time of the store; nothing where there is no such counter at that time."""


def placeable(hold: Reservation, renaming: Renaming, *, timezone: ZoneInfo, now_ms: int) -> tuple[Target, ...]:
    """A hold's counters at the other side, without limits. A past window limits nobody, but a bucket still counts."""
    targets = []
    for target in hold.targets:
        current = window_at(target.window.period, time_ms=now_ms, timezone=timezone)
        if current.id == target.window.id or is_rolling(current.period):
            targets.append(Target(renaming.account(target.account), current, None, target.unit))
    return tuple(targets)


class Placing:
    """Reserves at one side; windows and the version of limits are those of its last answer."""

    def __init__(self, side: Side) -> None:
        self._side = side
        self.now_ms = 0
        self._limits_version = 0

    async def look(self) -> None:
        """Ask for the time: at the beginning of a round."""
        head = await self._side.ask(self._side.store.head)
        self.now_ms, self._limits_version = head.now_ms, head.limits_version

    async def reserve(
        self,
        id_: str,
        targets_of: TargetsOf,
        held: Amounts,
        *,
        lease_ms: int = LEASE_MS,
        expiry_charge: Amounts = NOTHING,
    ) -> Answer | None:
        """RESERVED, or what is recorded of the id; None where there is nothing to hold on."""
        for _ in range(_ATTEMPTS):
            targets = targets_of(self.now_ms)
            if not targets:
                return None
            verb = Reserve(
                id_,
                targets,
                held,
                lease_ms,
                expiry_charge,
                enforce=False,
                limits_version=self._limits_version,
                wants_entries=False,
            )
            answer = await self._side.send(verb)
            self.now_ms, self._limits_version = answer.now_ms, answer.limits_version
            if not answer.status.is_transient:
                return answer
        return None

    async def renew(self, id_: str) -> Answer:
        return await self._side.ask(partial(self._side.ledger.sender.extend, id_, lease_ms=LEASE_MS))
