"""Plant faults one after the other and tell which test finds each: `make mutations`, or with some of their names.

Each fault is planted in a copy of the project, so that nothing is left behind when a run is cut off. Exit status 1
if a fault was found by no test, or could not be planted because its text is no longer in the file.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.mutations.faults import FAULTS, Fault

REPOSITORY = Path(__file__).parents[2]
# Fast and pure first: most faults are found within seconds.
STAGES = (
    ("tests/core",),
    ("tests/stores",),
    ("tests/ledger", "tests/asgi", "tests/test_payers.py", "tests/test_telemetry.py"),
    ("tests/simulation",),
    ("tests/e2e", "tests/faults"),
)
_LEFT_OUT = shutil.ignore_patterns(".git", ".venv", "*.egg-info", "__pycache__", ".mypy_cache", ".hypothesis")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutations", description=__doc__)
    parser.add_argument("names", nargs="*", help="faults to plant (default: all)")
    names = parser.parse_args().names
    chosen = [fault for fault in FAULTS if not names or fault.name in names]
    missed = 0
    with tempfile.TemporaryDirectory(prefix="mutations-") as folder:
        copy = Path(folder) / "project"
        shutil.copytree(REPOSITORY, copy, ignore=_LEFT_OUT)
        for number, fault in enumerate(chosen, 1):
            started = time.monotonic()
            found_by = _plant(copy, fault)
            missed += found_by is None
            told = found_by or "FOUND BY NO TEST"
            print(
                f"{number:>3}/{len(chosen)} {time.monotonic() - started:>6.1f} s  {fault.name:<42} {told}", flush=True
            )
    print(f"{len(chosen) - missed} of {len(chosen)} faults were found")
    return 1 if missed else 0


def _plant(copy: Path, fault: Fault) -> str | None:
    path = copy / "budget_middleware" / fault.file
    sound = path.read_text("utf-8")
    if sound.count(fault.old) != 1:
        sys.exit(f"{fault.name}: its text stands {sound.count(fault.old)} times in {fault.file}, not once")
    path.write_text(sound.replace(fault.old, fault.new), "utf-8")
    try:
        return next(filter(None, (_first_failure(copy, stage) for stage in STAGES)), None)
    finally:
        path.write_text(sound, "utf-8")


def _first_failure(copy: Path, stage: tuple[str, ...]) -> str | None:
    there = [place for place in stage if (copy / place).exists()]
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "-p", "no:cacheprovider", *there]
    environment_path = {"PYTHONPATH": str(copy), "PATH": "/usr/bin:/bin", "HOME": str(copy)}
    done = subprocess.run(command, cwd=copy, env=environment_path, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return None
    failures = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return failures[0].split(" - ")[0] if failures else f"pytest ended with {done.returncode}"


if __name__ == "__main__":
    sys.exit(main())
