"""Traces that look like those of real services: lognormal lengths, gamma gaps. No line of a real one is in them."""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from benchmarks.replay.traces import Record, Trace, trace_of

RECORDS = 12_000
# Lengths halve and double about their middle, once in so many calls.
_DRIFT_CALLS = 6_000


@dataclass(frozen=True, slots=True)
class Lengths:
    """Tokens whose logarithm is normal; no answer is longer than ``most``."""

    median: float
    spread: float
    most: int

    def draw(self, drawing: random.Random, *, times: float = 1) -> int:
        return max(1, min(self.most, round(times * self.median * drawing.lognormvariate(0, self.spread))))


@dataclass(frozen=True, slots=True)
class Service:
    """What calls of a service look like.

    ``burstiness`` is the standard deviation of the gaps between them over their mean: 1 if they are independent. Each
    of its ``sessions`` has a length of its own, whose logarithm lies ``session_spread`` about that of all.
    """

    name: str
    input: Lengths
    output: Lengths
    burstiness: float
    sessions: int = 1
    session_spread: float = 0
    long_output: Lengths | None = None
    long_share: float = 0
    drifts: bool = False
    is_shifting: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "is_shifting", self.drifts or self.long_output is not None)


SERVICES = (
    Service("code", Lengths(1_100, 1.2, 7_500), Lengths(16, 0.85, 2_000), burstiness=4),
    Service("conversation", Lengths(760, 1.0, 14_000), Lengths(150, 0.85, 1_000), burstiness=1.1),
    Service("long documents", Lengths(6_200, 1.2, 126_000), Lengths(210, 1.3, 2_000), burstiness=3),
    Service(
        "reasoning",
        Lengths(190, 1.8, 56_000),
        Lengths(880, 0.8, 32_768),
        burstiness=1.5,
        sessions=70,
        session_spread=0.5,
    ),
    Service(
        "agents",
        Lengths(12_000, 0.8, 120_000),
        Lengths(140, 1.0, 8_192),
        burstiness=2,
        sessions=40,
        session_spread=0.8,
    ),
    Service("drifting", Lengths(760, 1.0, 14_000), Lengths(300, 0.8, 8_192), burstiness=1.5, drifts=True),
    Service(
        "two modes",
        Lengths(760, 1.0, 14_000),
        Lengths(50, 0.5, 1_000),
        burstiness=1.5,
        long_output=Lengths(600, 0.4, 8_192),
        long_share=0.3,
    ),
)


def make_traces(*, seed: int, records: int = RECORDS) -> list[Trace]:
    """One of each service."""
    return [
        trace_of(
            each.name,
            _records(each, random.Random(f"{seed} {each.name} records"), records),
            seed=seed,
            is_shifting=each.is_shifting,
        )
        for each in SERVICES
    ]


def _records(service: Service, drawing: random.Random, count: int) -> Iterator[Record]:
    lengths = [drawing.lognormvariate(0, service.session_spread) for _ in range(service.sessions)]
    shape = 1 / service.burstiness**2
    at_s = 0.0
    for number in range(count):
        session = drawing.randrange(service.sessions)
        times = lengths[session]
        if service.drifts:
            times *= 2 ** math.sin(2 * math.pi * number / _DRIFT_CALLS)
        output = service.output
        if service.long_output is not None and drawing.random() < service.long_share:
            output = service.long_output
        yield Record(
            at_s, service.input.draw(drawing), output.draw(drawing, times=times), f"c{session}" * (service.sessions > 1)
        )
        at_s += drawing.gammavariate(shape, 1 / shape)
