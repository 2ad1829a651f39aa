"""What we aim at, beside what was measured: one line each, from the figures of the commands."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.latency import added_ratios
from benchmarks.rounds import added, of, ratio
from benchmarks.scripts import IN_FLIGHT, median_us, ours
from benchmarks.tables import table

Figures = Mapping[str, Sequence[Any]]
_Row = tuple[str, str, str]


def tell(figures: Figures) -> str:
    """A row for each aim whose commands were run; empty without any."""
    rows = [
        *_of_answers(figures),
        *_of_latency(figures),
        *_of_streams(figures),
        *_of_store(figures),
        *_of_memory(figures),
    ]
    return table(["", "measured", "aim"], rows) if rows else ""


def _of_answers(figures: Figures) -> Iterator[_Row]:
    visits = figures.get("compare-json", ())
    at = {each.connections for each in visits}
    if 32 in at:
        bare, two, redis, memory = (of(visits, name, 32) for name in ("bare", "two_evalsha", "redis_3", "memory"))
        times = ratio(redis, two, "per_second")
        yield "answers/s with Redis, of a handler with two EVALSHA", f"{times:.2f}", "at least 1"
        yield "CPU time added to a request with Redis", f"{added(redis, bare, 'cpu_us'):.0f} us", "at most 120 us"
        yield (
            "answers/s with the memory store, of the app alone",
            f"{ratio(memory, bare, 'per_second'):.2f}",
            "at least 0.6",
        )
    if 256 in at:
        times = ratio(of(visits, "redis_3", 256), of(visits, "two_evalsha", 256), "p99_ms")
        yield "p99 at c = 256, of a handler with two EVALSHA", f"{times:.2f}", "at most 1"


def _of_latency(figures: Figures) -> Iterator[_Row]:
    if "latency" in figures:
        whole, first = added_ratios({each.app: each for each in figures["latency"]})
        yield "latency added to a whole answer, in pairs of EVALSHA", f"{whole:.2f}", "at most 1.3"
        yield "latency added to a stream's first byte, in EVALSHA", f"{first:.2f}", "at most 1.3"


def _of_streams(figures: Figures) -> Iterator[_Row]:
    for name, kind in (("streams", "the guard"), ("streams-usage", "the client")):
        if visits := figures.get(f"compare-{name}"):
            bare, guarded = dict.fromkeys(each.scenario for each in visits)
            times = ratio(of(visits, guarded, 8), of(visits, bare, 8), "cpu_us")
            yield f"CPU time of a stream, usage asked for by {kind}, of the app alone", f"{times:.2f}", "at most 1.1"


def _of_store(figures: Figures) -> Iterator[_Row]:
    if times := figures.get("scripts"):
        for in_flight in IN_FLIGHT:
            script_us, own_us = (
                median_us(times, ours(3), name, in_flight=in_flight) for name in ("script_us", "own_commands_us")
            )
            says = f"script time with {in_flight} in flight, of its own commands' time"
            yield says, f"{script_us / own_us:.1f}", "near 1"
    if points := [point.script_us for point in figures.get("scale", ()) if not point.due]:
        yield "script time of a request in a full store, of one in an empty", f"{points[-1] / points[0]:.2f}", "1"


def _of_memory(figures: Figures) -> Iterator[_Row]:
    if samples := figures.get("memory"):
        half = next(sample for sample in samples if sample.requests >= samples[-1].requests / 2)
        grown = (samples[-1].resident_bytes - half.resident_bytes) / 2**20
        says = f"memory of a worker, from request {half.requests:,} to {samples[-1].requests:,}"
        yield says, f"{grown:+.1f} MiB", "0"
    if held := figures.get("streams"):
        alone, guarded = ((each.most_bytes - each.idle_bytes) / each.streams / 1024 for each in held)
        yield f"memory added to each of {held[0].streams:,} open streams", f"{guarded - alone:.0f} KiB", "told here"
