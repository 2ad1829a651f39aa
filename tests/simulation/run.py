"""One simulation from its plan to its outcome."""

import contextlib
import logging
import tempfile
from collections import Counter as Tally
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.simulation.disk import Disk
from tests.simulation.hosts import MemoryHost
from tests.simulation.loop import Stuck, VirtualLoop, virtual_time
from tests.simulation.plan import Plan
from tests.simulation.premises import start_ms
from tests.simulation.spans import told_entries
from tests.simulation.verdict import Losses
from tests.simulation.witness import Violation
from tests.simulation.world import OnWait, OpenHost, World

_JUDGED_ANYWAY = ("not booked", "%d tasks")


@dataclass
class Outcome:
    """What a simulation came to. ``violation`` is empty if every promise was kept; ``story`` if nobody asked for it."""

    plan: Plan
    violation: str = ""
    steps: int = 0
    requests: int = 0
    grown: int = 0
    faults: Tally[str] = field(default_factory=Tally)
    jobs: Tally[str] = field(default_factory=Tally)
    losses: Losses = field(default_factory=Losses)
    story: list[str] = field(default_factory=list)


def simulate(
    plan: Plan,
    *,
    open_host: OpenHost = MemoryHost,
    keeps_story: bool = False,
    on_wait: OnWait | None = None,
    world_of: type[World] = World,
) -> Outcome:
    """Run one plan. A broken promise is told in the outcome, never raised."""
    loop = VirtualLoop()
    with (
        _disk(plan) as disk,
        told_entries() as told,
        virtual_time(loop, start_ms=start_ms(plan)),
        _listening() as errors,
    ):
        world = world_of(
            plan, loop, disk=disk, told=told, open_host=open_host, keeps_story=keeps_story, on_wait=on_wait
        )
        loop.set_exception_handler(lambda _, error: errors.append(f"{error['message']}: {error.get('exception')!r}"))
        violation = _lived(loop, world) or (errors[0] if errors else "")
        world.tell("VIOLATION" if violation else "all promises kept;", violation or world.losses)
        world.network.close()
        loop.bury(world.processes)
        world.close()
    faults = world.happenings.met + world.network.faults_met
    witness = world.witness
    jobs = world.jobs.met
    return Outcome(plan, violation, witness.steps, world.asked, witness.grown, faults, jobs, world.losses, world.story)


def _lived(loop: VirtualLoop, world: World) -> str:
    try:
        loop.run_until_complete(world.live())
    except (Violation, Stuck, TimeoutError) as error:
        return f"{type(error).__name__}: {error}"
    except RuntimeError:
        if world.network.violation is None:
            raise
        return f"Violation: {world.network.violation}"
    return ""


@contextlib.contextmanager
def _disk(plan: Plan) -> Iterator[Disk]:
    if not plan.has_spool:
        yield Disk(None)
        return
    with tempfile.TemporaryDirectory(prefix="budget-") as folder:
        yield Disk(Path(folder))


class _Errors(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.told: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if not str(record.msg).startswith(_JUDGED_ANYWAY):
            cause = f" {record.exc_info[1]!r}" if record.exc_info else ""
            self.told.append(record.getMessage() + cause)


@contextlib.contextmanager
def _listening() -> Iterator[list[str]]:
    """What the product logs as an error is one, but for what the verdict judges itself."""
    log, handler = logging.getLogger("budget_middleware"), _Errors()
    level, propagates = log.level, log.propagate
    log.setLevel(logging.ERROR)
    log.propagate = False
    log.addHandler(handler)
    try:
        yield handler.told
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
        log.propagate = propagates
