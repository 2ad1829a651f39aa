"""Everything that lives in one simulation: workers and their requests, the network, the one store, a witness."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

from budget_middleware import BudgetMiddleware
from budget_middleware.core.money import usd_from_nanos
from budget_middleware.stores.base import Store
from tests.simulation.client import Connection, Lifespan
from tests.simulation.disk import Disk
from tests.simulation.happenings import Happenings
from tests.simulation.hosts import Host
from tests.simulation.job_verdict import judge_jobs
from tests.simulation.jobs import Jobs
from tests.simulation.loop import Process, VirtualLoop, outside
from tests.simulation.network import Link, Network
from tests.simulation.plan import Event, Kind, Plan, Request
from tests.simulation.premises import account_of, limits_of, start_ms
from tests.simulation.simulated_gateway import INPUT_NANOS, OUTPUT_NANOS, Gateway, Served
from tests.simulation.spans import ToldEntries
from tests.simulation.verdict import Losses, judge
from tests.simulation.witness import Truth, Witness

DRAIN_S = 10
FIXED = {"estimate": "expected"}
LEARNED = {"estimate": "learned", "estimate_spread": "0", "default_output_tokens": "4"}
"""So little is held at first, and without a margin, that about half of the answers outgrow it."""
RETRY_S = 6
"""Longer than an ending's longest pause between two tries and its reply."""

OpenHost = Callable[[Callable[[], int]], Host]
OnWait = Callable[["World", Connection], None]
"""Called at each point where a request's task waits."""


@dataclass
class Life:
    """One worker process: from its start to its kill or its orderly end."""

    process: Process
    guard: BudgetMiddleware
    lifespan: Lifespan
    server: asyncio.Task[None]
    is_open: bool = True
    requests: dict[int, asyncio.Task[Any]] = field(default_factory=dict)
    killed: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class World:
    """``ended`` are the requests whose process was killed, or came to its end without an answer to their ending."""

    shard = ""

    def __init__(
        self,
        plan: Plan,
        loop: VirtualLoop,
        *,
        disk: Disk,
        told: ToldEntries,
        open_host: OpenHost,
        keeps_story: bool,
        on_wait: OnWait | None,
    ) -> None:
        self.disk = disk
        self.told = told
        self.plan = plan
        self.story: list[str] = []
        self.served = {request.number: Served() for request in plan.requests}
        self.processes: list[Process] = []
        self.lives: list[Life] = []
        self._all_lives: list[Life] = []
        self.ended: set[int] = set()
        self.asked = 0
        self.lost: list[Truth] = []
        self.losses = Losses()
        self.store_skew_ms = 0
        self._loop = loop
        self._keeps_story = keeps_story
        self._on_wait = partial(on_wait, self) if on_wait else None
        self._restarts: list[asyncio.Task[None]] = []
        self._replicas: dict[Event, tuple[Any, Truth]] = {}
        self._gateway = Gateway({request.number: request for request in plan.requests}, self.served)
        self._limits = limits_of(plan)
        self._open_store(open_host)
        self.happenings = Happenings(self)
        self.jobs = Jobs(self)

    def _open_store(self, open_host: OpenHost) -> None:
        self.host: Any = open_host(self.store_time_ms)
        self.witness: Any = Witness(self._limits)
        self.network: Any = Network(self.plan, self.host, self.witness, self.tell)

    def judge(self) -> Losses:
        """The verdict."""
        losses = judge(self)
        judge_jobs(self, losses)
        return losses

    def accounts_of(self, request: Request) -> set[str]:
        """Who pays for it."""
        return {account_of(request.key), "global"}

    def store_time_ms(self) -> int:
        return start_ms(self.plan) + self._loop.elapsed_ms() + self.store_skew_ms

    def tell(self, *words: object) -> None:
        if self._keeps_story:
            self.story.append(" ".join(map(str, (f"{self._loop.elapsed_ms() / 1000:9.3f} ", *words))))

    def later(self, ms: int, what: Callable[..., None], *arguments: Any) -> None:
        """Of no process: it comes to pass whoever is paused or dead by then."""
        self._loop.call_later(ms / 1000, what, *arguments, context=outside())

    def new_process(self, name: str, *, skew_ms: int = 0) -> Process:
        self.processes.append(Process(name, skew_ms=skew_ms))
        return self.processes[-1]

    def link(self, process: Process) -> Store:
        return cast(Store, Link(process, self.network))

    def close(self) -> None:
        """After all, the dead too have come to their end behind a cut network."""
        for life in self._all_lives:
            _close_files(life)
        self.host.close()

    # From the beginning to the verdict.

    async def live(self) -> None:
        """Play the plan to its end, let everything settle, and judge."""
        plan = self.plan
        self.lives = [self._new_life(worker) for worker in range(plan.workers)]
        for request in plan.requests:
            self.later(request.at_ms, self._ask, request)
        self.jobs.begin()
        for event in plan.events:
            self.later(event.at_ms, self.happenings.happen, event)
            if event.kind is Kind.FAILOVER:
                self.later(max(0, event.at_ms - event.for_ms), self._replicate, event)
        await asyncio.sleep(plan.length_ms / 1000)
        await self._settle()
        self.losses = self.judge()

    async def _settle(self) -> None:
        async with asyncio.timeout(1_000):
            while any(not task.done() for task in self._awaited()):
                await asyncio.sleep(1)
        self.network.calm_down()
        self.tell("-- calm")
        # Where the store's clock was set back, leases last so much longer.
        set_back_ms = sum(max(0, -event.amount) for event in self.plan.events if event.kind is Kind.STORE_CLOCK)
        # What a repeated call holds, nobody waits for.
        await asyncio.sleep(self.network.under_way_s + self.plan.longest_lease_s + RETRY_S + set_back_ms / 1000)
        ended = set(self.ended)
        for life in self.lives:
            if life.is_open:
                await self._end_orderly(life)
        self.ended = ended
        self.network.step("sweep", options={"at_most": 10_000})

    def _awaited(self) -> list[asyncio.Task[Any]]:
        requests = [task for life in self.lives if life.is_open for task in life.requests.values()]
        return requests + self._restarts

    # Workers.

    def _new_life(self, worker: int) -> Life:
        plan = self.plan
        earlier = sum(process.name.startswith(f"w{worker}") for process in self.processes)
        process = self.new_process(f"w{worker}" + "'" * earlier, skew_ms=plan.skews_ms[worker])
        limits = [f"{account}={usd_from_nanos(nanos)}/{period}" for (account, period), nanos in self._limits.items()]
        guard = BudgetMiddleware(
            self._gateway,
            store=self.link(process),
            limits=";".join(limits),
            unknown_model=f"{INPUT_NANOS // 1_000}/{OUTPUT_NANOS // 1_000}",
            lease_s=str(plan.lease_s),
            store_timeout_s="0.5",
            on_abort=plan.on_abort,
            on_expire=plan.on_expire,
            on_store_error=plan.on_store_error,
            **(LEARNED if plan.learns else FIXED),
            spool_path=self.disk.folder,
            # Workers of one ledger may differ.
            spans=("counter", "verb")[worker % 2],
            drain_timeout_s=str(DRAIN_S),
        )
        lifespan = Lifespan()
        self._all_lives.append(Life(process, guard, lifespan, process.begin(lifespan.carry(guard))))
        return self._all_lives[-1]

    def start(self, worker: int) -> None:
        self.lives[worker] = self._new_life(worker)
        self.tell(self.lives[worker].process.name, "starts")

    def kill(self, life: Life) -> None:
        life.process.is_killed = True
        if not life.killed.done():
            life.killed.set_result(None)
        self._end(life)

    def _end(self, life: Life) -> None:
        life.is_open = False
        life.process.kill()
        # Its locks are free from now on, as the operating system sees to.
        _close_files(life)
        self.disk.note_death()
        is_killed, unanswered = life.process.is_killed, self.network.unanswered
        subject = self.jobs.subject
        self.ended.update(number for number in life.requests if is_killed or subject(number) in unanswered)

    def restart(self, worker: int) -> None:
        self._restarts.append(self._loop.create_task(self._restarted(worker)))

    async def _restarted(self, worker: int) -> None:
        life = self.lives[worker]
        await self._end_orderly(life)
        # Who kills it meanwhile starts it again too.
        if not life.process.is_killed:
            self.start(worker)

    async def _end_orderly(self, life: Life) -> None:
        """As servers do it: no new requests, the rest of the old ones, then lifespan's shutdown."""
        life.is_open = False
        if life.requests:
            _, left = await asyncio.wait(life.requests.values(), timeout=DRAIN_S)
            for number, task in life.requests.items():
                if task in left:
                    self.tell(f"request #{number} is cut off")
                    task.cancel()
        self.tell(life.process.name, "drains")
        life.lifespan.end()
        await asyncio.wait([life.server, life.killed], return_when=asyncio.FIRST_COMPLETED)
        if not life.process.is_killed:
            self._end(life)

    def _ask(self, request: Request) -> None:
        life = self.lives[request.worker]
        if not life.is_open:
            return
        self.asked += 1
        self.tell(f"{life.process.name}: request #{request.number} of key {request.key},", request.play, request.client)
        connection = Connection(request)
        task = life.process.begin(connection.carry(life.guard, self._on_wait), number=request.number)
        task.add_done_callback(lambda task: self.tell(f"request #{request.number}:", _how(task, connection)))
        life.requests[request.number] = task

    # The store loses what it had.

    def empty_store(self) -> None:
        self.host.empty()
        self.lost.append(self.witness.lose())

    def _replicate(self, event: Event) -> None:
        self._replicas[event] = (self.host.snapshot(), self.witness.snapshot())

    def fail_over(self, event: Event) -> None:
        kept, truth = self._replicas[event]
        self.host.restore(kept)
        self.lost.append(self.witness.lose(truth))


def _close_files(life: Life) -> None:
    life.guard.ledger._endings.close()


def _how(task: asyncio.Task[Any], connection: Connection) -> str:
    return "cancelled" if task.cancelled() else f"over, status {connection.status}"
