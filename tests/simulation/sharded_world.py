"""The same simulation over shards: those of the keys, and the main one; each has a network and a witness.

A call that gets lost, a server that is down, a worker that dies: each meets one shard while the others go on. So
coordinators die between the parts of a reservation, undos get lost, and endings arrive at one shard only. The verdict
is that of one store, on each shard by itself, for each request on every shard that has a part of it.
"""

from collections import Counter as Tally
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, cast

from budget_middleware.core.verbs import Reserve
from budget_middleware.core.windows import Period
from budget_middleware.stores.base import Store
from budget_middleware.stores.sharded.memory_shard import MemoryShard
from budget_middleware.stores.sharded.shard_map import MAIN, Anchor, ShardMap
from budget_middleware.stores.sharded.store import ShardedStore
from tests.simulation.hosts import RETENTION, MemoryHost
from tests.simulation.loop import Process
from tests.simulation.network import Link, Network
from tests.simulation.plan import Plan, Request
from tests.simulation.premises import account_of
from tests.simulation.simulated_gateway import ESTIMATE_NANOS
from tests.simulation.verdict import Losses, judge
from tests.simulation.witness import Violation, Witness
from tests.simulation.world import OpenHost, World

SHARDS = ShardMap("key", 2)


class ShardHost(MemoryHost):
    """A shard in memory."""

    def __init__(self, clock_ms: Callable[[], int]) -> None:
        self._memory = MemoryShard(RETENTION, clock_ms=clock_ms)
        self.store: Store = self._memory


class ShardWitness(Witness):
    """Of one shard. Limits are the main one's: a shard is held to those whose version it knows."""

    def __init__(self, limits: Any, main: "ShardWitness | None") -> None:
        super().__init__(limits)
        self._main = main or self

    def _knows_limits(self, verb: Reserve) -> bool:
        if verb.limits_version != self._main.truth.auditor.limits_version:
            return False
        self.truth.runtime_limits = self._main.truth.runtime_limits
        return True


@dataclass
class Place:
    """One shard, as the verdict sees a world: with the requests that have a part there."""

    shard: str
    world: "ShardedWorld"
    host: ShardHost
    witness: ShardWitness
    network: Network

    def __getattr__(self, name: str) -> Any:
        return getattr(self.world, name)

    @property
    def plan(self) -> Plan:
        """Without requests that have no part here."""
        plan = self.world.plan
        return replace(plan, requests=tuple(each for each in plan.requests if self.accounts_of(each)))

    @property
    def happenings(self) -> Any:
        """With the adjusts of accounts that are here."""
        happenings = self.world.happenings
        here = {event.number for event in self.world.plan.events if self._has(account_of(event.about))}
        adjusts = {number: answer for number, answer in happenings.adjusts.items() if number in here}
        return SimpleNamespace(adjusts=adjusts, paused=happenings.paused)

    def _has(self, account: str) -> bool:
        place = SHARDS.place_of(account)
        return self.shard == (place.proposal if isinstance(place, Anchor) else place)

    def accounts_of(self, request: Request) -> set[str]:
        return {each for each in self.world.accounts_of(request) if self._has(each)}


class Networks:
    """Those of all shards together. What befalls the store befalls one shard after the other."""

    def __init__(self, places: dict[str, Place]) -> None:
        self._each = [place.network for place in places.values()]
        self._turn = 0

    def go_down(self, ms: int) -> None:
        self._turn += 1
        self._each[self._turn % len(self._each)].go_down(ms)

    def step(self, name: str, *, options: dict[str, Any]) -> None:
        for network in self._each:
            network.step(name, options=options)

    def close(self) -> None:
        for network in self._each:
            network.close()

    def calm_down(self) -> None:
        for network in self._each:
            network.calm_down()

    @property
    def slow_ms(self) -> int:
        return max(network.slow_ms for network in self._each)

    @slow_ms.setter
    def slow_ms(self, ms: int) -> None:
        self._each[self._turn % len(self._each)].slow_ms = ms

    @property
    def under_way_s(self) -> float:
        return max(network.under_way_s for network in self._each)

    @property
    def unanswered(self) -> set[int]:
        return set().union(*(network.unanswered for network in self._each))

    @property
    def violation(self) -> Violation | None:
        return next((network.violation for network in self._each if network.violation), None)

    @property
    def faults_met(self) -> Tally[str]:
        return sum((network.faults_met for network in self._each), Tally())


class Witnesses:
    """Those of all shards together."""

    def __init__(self, places: dict[str, Place]) -> None:
        self._each = [place.witness for place in places.values()]

    def ids_of(self, number: int) -> list[str]:
        return sorted({id_ for witness in self._each for id_ in witness.ids_of(number)})

    @property
    def steps(self) -> int:
        return sum(witness.steps for witness in self._each)

    @property
    def grown(self) -> int:
        return sum(witness.grown for witness in self._each)


class ShardedWorld(World):
    """Everything that lives in one simulation over shards."""

    def _open_store(self, open_host: OpenHost) -> None:
        # So tight that the main shard refuses what the keys' own have taken.
        self._limits["global", Period.DAY] = 2 * self.plan.limit_in_estimates * ESTIMATE_NANOS
        main = ShardWitness(self._limits, None)
        self.places: dict[str, Place] = {}
        for at, name in enumerate(SHARDS.names):
            host, witness = ShardHost(self.store_time_ms), main if name == MAIN else ShardWitness(self._limits, main)
            network = Network(replace(self.plan, seed=self.plan.seed + 1_000 * at), host, witness, self._tell_of(name))
            self.places[name] = Place(name, self, host, witness, network)
        self.network, self.witness = Networks(self.places), Witnesses(self.places)

    def _tell_of(self, shard: str) -> Callable[..., None]:
        return lambda *words: self.tell(f"[{shard}]", *words)

    def link(self, process: Process) -> Store:
        places = self.places
        return ShardedStore(SHARDS, lambda name: cast(Any, Link(process, places[name].network)), retention=RETENTION)

    def close(self) -> None:
        self.host = self.places[MAIN].host
        super().close()

    def judge(self) -> Losses:
        losses = Losses()
        for place in self.places.values():
            try:
                losses += judge(cast(World, place))
            except Violation as violation:
                raise Violation(f"[{place.shard}] {violation}") from violation
        return losses
