"""Two thousand streams open at once on one worker, bare and guarded: `python -m benchmarks streams`."""

import argparse
import asyncio
import resource
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from benchmarks.answers import STREAM_WITH_USAGE
from benchmarks.apps import PACED_CHUNKS, PAUSE_S
from benchmarks.books import check_books
from benchmarks.client import encode, read_answer
from benchmarks.results import keep, machine, told
from benchmarks.tables import table
from benchmarks.terminal import progress
from benchmarks.workers import Process, redis_server, redis_url, worker


@dataclass(frozen=True, slots=True)
class Held:
    """Resident bytes of a worker: idle, and at most while the streams were open. How long a stream took, at p99."""

    app: str
    streams: int
    idle_bytes: int
    most_bytes: int
    p99_s: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--streams", type=int, default=2000, help="open at once (default 2000)")


def run(options: argparse.Namespace) -> None:
    """Open them, print what they take, keep the figures; every answer must be whole and booked."""
    _allow_files(options.streams + 200)
    print(told(machine()))
    with redis_server() as store:
        environment = {"BENCH_REDIS_URL": redis_url(store)}
        found = []
        for app in ("benchmarks.apps:paced", "benchmarks.guarded:paced_3"):
            with worker(app, environment=environment) as process:
                found.append(asyncio.run(_hold(app, process, options.streams)))
        booked = asyncio.run(
            check_books(
                store, namespace="paced_3", account="global", at_least=options.streams + 1, at_most=options.streams + 1
            )
        )
    print(f"\n{tell(found)}")
    print(f"{booked} streams booked, none failed; each lasts {PACED_CHUNKS * PAUSE_S:g} s where nothing waits")
    keep("streams", [asdict(held) for held in found], options={"streams": options.streams})


def tell(figures: Sequence[Held]) -> str:
    """What the streams take of a worker, bare and guarded."""
    rows: list[list[object]] = []
    for held in figures:
        idle_mib, most_mib = held.idle_bytes / 2**20, held.most_bytes / 2**20
        says = "guarded, Redis, 3 accounts" if "guarded" in held.app else "the app alone"
        rows.append([says, held.streams, idle_mib, most_mib, 1024 * (most_mib - idle_mib) / held.streams, held.p99_s])
    return table(["", "streams", "idle MiB", "MiB with all open", "KiB a stream", "p99 s"], rows)


def _allow_files(count: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        if hard != resource.RLIM_INFINITY and hard < count:
            sys.exit(f"a process may open {hard} files, and {count} are needed: ulimit -n")
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


async def _hold(app: str, process: Process, streams: int) -> Held:
    await _stream(process)
    idle_bytes, most_bytes = process.resident_bytes(), 0
    running = [asyncio.create_task(_stream(process)) for _ in range(streams)]
    while not all(task.done() for task in running):
        most_bytes = max(most_bytes, process.resident_bytes())
        progress(f"{app}: {sum(task.done() for task in running)}/{streams} streams")
        await asyncio.sleep(0.25)
    progress("")
    times_s = sorted(task.result() for task in running)
    return Held(app, streams, idle_bytes, most_bytes, times_s[len(times_s) * 99 // 100])


async def _stream(process: Process) -> float:
    """Seconds that one stream took."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    reader, writer = await asyncio.open_connection("127.0.0.1", process.port, limit=2**20)
    writer.write(encode(STREAM_WITH_USAGE))
    head, body = await read_answer(reader)
    writer.close()
    if not head.startswith(b"http/1.1 200") or body.count(b"data: ") != PACED_CHUNKS:
        sys.exit(f"a stream failed: {head[:60]!r}, {body.count(b'data: ')} of {PACED_CHUNKS} events")
    return loop.time() - started
