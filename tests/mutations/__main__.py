"""Plant faults and tell which test finds each: `make mutations`, or with some of their names.

Each core plants one fault after the other in a copy of the project, so that nothing is left behind when a run is cut
off. The file that found it last time runs first, then the tests nearest to it, and only the first that fails counts,
if it passes without the fault. Which file found what is kept in `found_by.json`: a folder of tests takes minutes, one
of its files seconds. Exit status 1 if a fault was found by no test.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from queue import SimpleQueue
from threading import Lock

from tests.mutations.planted_faults import FAULTS, Fault

REPOSITORY = Path(__file__).parents[2]
FOUND_BY = Path(__file__).with_name("found_by.json")
HUNG_S = 900
# No test takes half of it without a fault. One that hangs fails then, and its process ends where its fixtures hang too.
_TIMEOUTS = ("--timeout=90", "--override-ini=faulthandler_timeout=105")
_AT_ONCE = os.cpu_count() or 1
_REMEMBERING = Lock()

# Fast and pure first: most faults are found within seconds.
CORE = ("tests/core", "tests/prices")
STORES = ("tests/stores", "--ignore=tests/stores/test_model.py")
LEDGER = ("tests/test_shared_timeout.py", "tests/ledger", "tests/telemetry")
HISTORY = ("tests/history",)
ALERTS = ("tests/alerts",)
ADMIN = ("tests/admin",)
DATABASES = ("tests/databases",)
OPERATIONS = ("tests/operations", "tests/cli")
REQUEST = ("tests/request", "tests/sessions", "tests/bills", "tests/middleware", "tests/apis", "tests/payers")
STAGES = (
    CORE,
    STORES,
    LEDGER,
    REQUEST,
    ("tests/stores/test_model.py",),
    ("tests/simulation",),
    OPERATIONS,
    HISTORY,
    ALERTS,
    ADMIN,
    DATABASES,
)
PROCESSES = ("tests/e2e", "tests/faults", "tests/overload")
NEAREST = {
    "admin": ADMIN,
    "alerts": ALERTS,
    "core": CORE,
    "databases": DATABASES,
    "stores": STORES,
    "ledger": LEDGER,
    "history": HISTORY,
    "loop_clock.py": LEDGER,
    "operations": OPERATIONS,
    "shared_timeout.py": LEDGER,
}

_LEFT_OUT = shutil.ignore_patterns(".git", ".venv*", "build", "*.egg-info", "__pycache__", ".*_cache", ".hypothesis")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutations", description=__doc__)
    parser.add_argument("names", nargs="*", help="faults to plant (default: all)")
    names = parser.parse_args().names
    chosen = [fault for fault in FAULTS if not names or fault.name in names]
    with tempfile.TemporaryDirectory(prefix="mutations-") as folder, ThreadPoolExecutor(_AT_ONCE) as pool:
        copies: SimpleQueue[Path] = SimpleQueue()
        for copy in pool.map(_copy_of_project, (Path(folder) / str(number) for number in range(_AT_ONCE))):
            copies.put(copy)
        searched = [pool.submit(_searched, copies, fault) for fault in chosen]
        missed = 0
        for number, done in enumerate(as_completed(searched), 1):
            row, found = done.result()
            missed += not found
            print(f"{number:>3}/{len(chosen)} {row}", flush=True)
    print(f"{len(chosen) - missed} of {len(chosen)} faults were found")
    return 1 if missed else 0


def _copy_of_project(copy: Path) -> Path:
    shutil.copytree(REPOSITORY, copy, ignore=_LEFT_OUT)
    _compile(copy)
    return copy


def _searched(copies: "SimpleQueue[Path]", fault: Fault) -> tuple[str, bool]:
    """A row about one fault, and whether a test finds it."""
    copy = copies.get()
    started = time.monotonic()
    try:
        found_by = _found_by(copy, fault)
    finally:
        copies.put(copy)
    took = time.monotonic() - started
    return f"{took:>6.1f} s  {fault.name:<52} {found_by or 'FOUND BY NO TEST'}", found_by is not None


def _compile(copy: Path) -> None:
    """Leave bytecode of all that is sound: each fault's tests would compile the package and themselves anew."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q"]
    subprocess.run(
        command, cwd=copy, env=environment | {"PYTHONPATH": str(copy)}, stdout=subprocess.DEVNULL, check=True
    )


def _found_by(copy: Path, fault: Fault) -> str | None:
    for stage in _stages(fault):
        failed = _planted(copy, fault, stage)
        if failed is None:
            continue
        if _first_failure(copy, (failed,)) is None:
            _remember(fault, failed.partition("::")[0])
            return failed
        print(f"        {failed} fails without the fault too, and does not count", flush=True)
    return None


def _remember(fault: Fault, file: str) -> None:
    with _REMEMBERING:
        known = finders()
        if known.get(fault.name) != file:
            FOUND_BY.write_text(json.dumps(known | {fault.name: file}, indent=1, sort_keys=True) + "\n", "utf-8")


def finders() -> dict[str, str]:
    """The file of tests that found each fault last time, of those faults that were found."""
    known: dict[str, str] = json.loads(FOUND_BY.read_text("utf-8"))
    return known


def _stages(fault: Fault) -> Iterator[tuple[str, ...]]:
    finder = finders().get(fault.name)
    if finder and (REPOSITORY / finder).exists():
        yield (finder,)
    nearest = NEAREST.get(fault.file.partition("/")[0], REQUEST)
    yield nearest
    yield from (stage for stage in (*STAGES, PROCESSES) if stage != nearest)


def _planted(copy: Path, fault: Fault, stage: tuple[str, ...]) -> str | None:
    path = copy / "budget_middleware" / fault.file
    sound, times = path.read_text("utf-8"), path.stat()
    assert sound.count(fault.old) == 1, f"{fault.name}: its text stands {sound.count(fault.old)} times in {fault.file}"
    path.write_text(sound.replace(fault.old, fault.new), "utf-8")
    try:
        return _first_failure(copy, stage)
    finally:
        path.write_text(sound, "utf-8")
        # So that its bytecode counts again.
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def _first_failure(copy: Path, places: tuple[str, ...]) -> str | None:
    """The test that failed, by its whole name: the output cuts names that hold blanks."""
    kept = copy / ".pytest_cache"
    shutil.rmtree(kept, ignore_errors=True)
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", *_TIMEOUTS, *places]
    # Bytecode of a fault must not outlive it: the sound file may have the same size and time.
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, timeout=HUNG_S, check=False)
    except subprocess.TimeoutExpired:
        return places[0]
    if done.returncode == 0:
        return None
    failed = kept / "v" / "cache" / "lastfailed"
    return next(iter(json.loads(failed.read_text("utf-8"))), places[0]) if failed.exists() else places[0]


if __name__ == "__main__":
    sys.exit(main())
