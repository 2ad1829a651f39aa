"""What befalls workers, the store and the limits while requests go on: the plan's events, and operators' errands."""

from __future__ import annotations

from collections import Counter as Tally
from typing import TYPE_CHECKING

from budget_middleware.core.limits.limits import Claim
from budget_middleware.core.units import Amounts
from budget_middleware.core.windows import Period
from budget_middleware.ledger import Ledger
from budget_middleware.stores.errors import StoreRefused, StoreUnavailable
from tests.simulation.loop import Process
from tests.simulation.plan import Event, Kind
from tests.simulation.premises import account_of
from tests.simulation.simulated_gateway import ESTIMATE_NANOS

if TYPE_CHECKING:
    from tests.simulation.world import World

TAKEOVER_MS = 1_000

STANDSTILL_MS, BETWEEN_MS = 600, 20
"""How long a lagging worker's event loop stands still, and how long it runs before it does so again."""


class Happenings:
    """Plays the events.

    ``adjusts`` holds the answer to each operator's adjust or transfer that got one, by its number.
    """

    def __init__(self, world: World) -> None:
        self.met: Tally[str] = Tally()
        self.adjusts: dict[int, str] = {}
        self.paused: set[Process] = set()
        self._world = world
        self._operator = world.new_process("operator")
        self._ledger = Ledger(world.link(self._operator))

    def happen(self, event: Event) -> None:
        self._world.tell("--", event.kind, event.about or "", event.amount or "", "for", event.for_ms, "ms")
        self.met[event.kind] += 1
        match event.kind:
            case Kind.KILL | Kind.PAUSE | Kind.LAG | Kind.RESTART | Kind.SKEW:
                self._befall_worker(event)
            case Kind.LIMIT | Kind.ADJUST | Kind.TRANSFER | Kind.OPERATOR_RELEASE:
                self._operator.begin(self._run_errand(event), number=event.number)
            case _:
                self._befall_store(event)

    def _befall_worker(self, event: Event) -> None:
        world = self._world
        life = world.lives[event.about]
        match event.kind:
            case Kind.KILL if life.is_open:
                world.kill(life)
                world.later(event.for_ms, world.start, event.about)
            case Kind.RESTART if life.is_open:
                world.restart(event.about)
            case Kind.PAUSE if not life.process.is_stopped:
                life.process.pause()
                self.paused.add(life.process)
                world.later(event.for_ms, self._resume, life.process)
            case Kind.LAG if not life.process.is_stopped:
                for begins_ms in range(0, event.for_ms, STANDSTILL_MS + BETWEEN_MS):
                    world.later(begins_ms, self._stand_still, life.process)
            case Kind.SKEW:
                life.process.skew_ms += event.amount

    def _stand_still(self, process: Process) -> None:
        if not process.is_stopped:
            process.pause()
            self.paused.add(process)
            self._world.later(STANDSTILL_MS, self._resume, process)

    def _resume(self, process: Process) -> None:
        if not process.is_cut:
            self._world.tell(process.name, "resumes")
            process.resume()

    def _befall_store(self, event: Event) -> None:
        world, network = self._world, self._world.network
        match event.kind:
            case Kind.DOWN:
                network.go_down(event.for_ms)
            case Kind.SLOW:
                network.slow_ms = 40 if event.for_ms < 1_000 else 450
                world.later(event.for_ms, setattr, network, "slow_ms", 0)
            case Kind.EMPTIED:
                world.empty_store()
            case Kind.FAILOVER:
                # Nobody answers until the replica has taken over.
                network.go_down(TAKEOVER_MS)
                world.later(TAKEOVER_MS, world.fail_over, event)
            case Kind.STORE_CLOCK:
                world.store_skew_ms += event.amount

    # Operators.

    async def _run_errand(self, event: Event) -> None:
        account = account_of(event.about)
        store = self._ledger.store
        try:
            match event.kind:
                case Kind.LIMIT if event.amount < 0:
                    await store.clear_limit(account, period=Period.HOUR)
                case Kind.LIMIT:
                    await store.set_limit(account, period=Period.HOUR, limit_nanos=event.amount * ESTIMATE_NANOS)
                case Kind.ADJUST:
                    claim = Claim(account, Period.HOUR, None)
                    answer = await self._ledger.adjust([claim], amount=Amounts(usd=event.amount), reason="simulated")
                    self.adjusts[event.number] = answer.status
                case Kind.TRANSFER:
                    limit_nanos = self._world.plan.limit_in_estimates * ESTIMATE_NANOS
                    giver = Claim(account, Period.HOUR, limit_nanos)
                    getter = Claim(account_of((event.about + 1) % 3), Period.HOUR, None)
                    amount = Amounts(usd=event.amount)
                    answer = await self._ledger.transfer(giver, getter, amount=amount, reason="simulated")
                    self.adjusts[event.number] = answer.status
                case _:
                    for id_ in self._world.witness.ids_of(event.about):
                        await self._ledger.expire(id_, reason="simulated")
        except (StoreUnavailable, StoreRefused) as error:
            self._world.tell("operator:", event.kind, "failed:", error)
