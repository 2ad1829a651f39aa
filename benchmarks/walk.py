"""The calls of our own functions that one JSON request makes, counted and in their order: `python -m benchmarks walk`.

Calls are those that `sys.setprofile` sees in files of the package: functions, comprehensions where Python calls them,
and coroutines and generators each time that they go on. Of several requests that with the fewest is shown: a timer that
fires meanwhile belongs to none.
"""

import argparse
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from benchmarks.checkouts import HERE, add_beside, checkouts
from benchmarks.inprocess import process_of
from benchmarks.tables import table
from benchmarks.visited import Frame
from benchmarks.workers import redis_server, redis_url

_WAYS = {"Redis, 3 accounts": "redis", "memory, 3 accounts": "memory"}
_REQUESTS = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tree", choices=list(_WAYS.values()), help="print each call of this way too, in their order")
    parser.add_argument("--folders", action="store_true", help="print the calls by folder too")
    add_beside(parser)


def run(options: argparse.Namespace) -> None:
    """Count, and print."""
    rows = []
    with ExitStack() as stack:
        url = redis_url(stack.enter_context(redis_server()))
        for says, code in checkouts(options).items():
            for way_says, way in _WAYS.items():
                frames, calls = walk(code, way, url)
                rows.append([f"{says}: {way_says}", len(frames), len({file for _, file, _ in frames}), round(calls)])
                if code == HERE and way == options.tree:
                    print("\n".join(map(_line, frames)), end="\n\n")
                if options.folders:
                    _print_folders(frames)
    print(table(["one JSON request", "own calls", "files", "function calls (cProfile)"], rows))


def walk(code: Path, way: str, url: str) -> tuple[list[Frame], float]:
    """The calls of our own functions, and the mean number of all function calls."""
    with process_of(code, way, url, requests=_REQUESTS) as process:
        calls, _ = process.ask("")
        walks = process.ask("walk")
    return min(walks, key=len), calls


def _line(frame: Frame) -> str:
    depth, file, name = frame
    return f"{'  ' * depth}{name}  [{file}]"


def _print_folders(frames: list[Frame]) -> None:
    calls = Counter(str(Path(file).parent) for _, file, _ in frames)
    print(table(["folder", "own calls"], [[folder, count] for folder, count in calls.most_common()]), end="\n\n")
