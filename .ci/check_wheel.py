"""Build sdist and wheel, and use them as users do: on every supported Python that is here, with and without each extra.

An editable install hides files that the wheel forgets: Lua scripts, `py.typed`, pages of the dashboard. With `--keep`
what was built is left in dist/, beside a bill of materials of what an installation without extras consists of.
"""

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from interpreters import PYTHONS, interpreter

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "budget_middleware"
COMMAND = ("-m", PACKAGE)
OF_THE_SDIST = ("CHANGELOG.md", "LICENSE", "README.md", "SECURITY.md", "docs/index.md", "tests/conftest.py")


@dataclass(frozen=True)
class Extra:
    """How an extra shows: without it a command names it, and with it no more."""

    words: Sequence[str]
    settings: Mapping[str, str] = field(default_factory=dict)
    words_with_it: Sequence[str] = ()


EXTRAS: Mapping[str, Extra] = {
    "admin": Extra((*COMMAND, "doctor"), {"BUDGET_ADMIN_TOKEN": "t" * 40}),
    "brotli": Extra(("-c", f"from {PACKAGE}.apis.bodies.inflating import _maker; _maker(b'br')")),
    "demo": Extra((*COMMAND, "demo", "--json", "--seconds", "1")),
    "import": Extra((*COMMAND, "import", "litellm", "config.yaml")),
    # Its doctor names the extra until it runs under the instrumentation that the extra brings.
    "otlp": Extra((*COMMAND, "doctor"), words_with_it=("-c", f"import {PACKAGE}.telemetry.otlp_exporter")),
    "parquet": Extra((*COMMAND, "export", "--parquet", "out"), {"BUDGET_HISTORY_URL": "sqlite:///history.db"}),
    "postgres": Extra((*COMMAND, "status"), {"BUDGET_STORE_URL": "postgresql://127.0.0.1:1/none"}),
}


class Fault(Exception):
    """What was built is not what a user needs, in one line."""


def main() -> None:
    """Exit 1 with one line for what is wrong."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            sdist, wheel = build(folder / "dist")
            check_contents(sdist, wheel)
            tried = [version for version in PYTHONS if use(version, wheel, folder)]
        except Fault as fault:
            sys.exit(f"{fault}")
        if "--keep" in sys.argv[1:]:
            if ".example/" in str(project()["urls"]):
                print("NOT FOR UPLOAD: the addresses in pyproject.toml are placeholders, see [project.urls]")
            shutil.copytree(folder / "dist", ROOT / "dist", dirs_exist_ok=True)
    if not tried:
        sys.exit(f"none of Python {', '.join(PYTHONS)} is here")
    print(f"tried on Python {', '.join(tried)} in {time.monotonic() - started:.0f} s")


def build(folder: Path) -> tuple[Path, Path]:
    """The sdist, and the wheel that is built from it alone."""
    run(sys.executable, "-m", "build", "--outdir", folder, ROOT, cwd=ROOT)
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    run(sys.executable, "-m", "twine", "check", "--strict", sdist, wheel, cwd=folder)
    return sdist, wheel


def check_contents(sdist: Path, wheel: Path) -> None:
    tracked = set(run("git", "ls-files", PACKAGE, cwd=ROOT).split())
    with zipfile.ZipFile(wheel) as archive:
        if missing := sorted(tracked - set(archive.namelist())):
            raise Fault(f"{wheel.name} lacks {', '.join(missing)}")
        (metadata,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        told = archive.read(metadata).decode().partition("\n\n")[0].splitlines()
    with tarfile.open(sdist) as source:
        packed = {name.partition("/")[2] for name in source.getnames()}
    if missing := sorted(tracked.union(OF_THE_SDIST) - packed):
        raise Fault(f"{sdist.name} lacks {', '.join(missing)}")
    for name, address in project()["urls"].items():
        if f"Project-URL: {name}, {address}" not in told:
            raise Fault(f"{wheel.name} does not name {address}")
    extras = {line.removeprefix("Provides-Extra: ") for line in told if line.startswith("Provides-Extra: ")}
    if extras != EXTRAS.keys() or extras != project()["optional-dependencies"].keys():
        raise Fault(f"extras {sorted(extras)} are not those that are tried: {sorted(EXTRAS)}")
    for version in PYTHONS:
        if f"Classifier: Programming Language :: Python :: {version}" not in told:
            raise Fault(f"{wheel.name} has no classifier for Python {version}")
    print(f"{wheel.name}: {len(tracked)} files, {len(extras)} extras; {sdist.name}: {len(packed)} files")


def project() -> Mapping[str, Any]:
    """The metadata as they are written."""
    metadata: Mapping[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return metadata


def use(version: str, wheel: Path, folder: Path) -> bool:
    """Install the wheel for one version of Python, alone and with each extra; whether that version is here."""
    found = interpreter(version)
    if found is None:
        print(f"Python {version}: not on this machine, not tried")
        return False
    started = time.monotonic()
    place = folder / version
    place.mkdir()
    (place / "config.yaml").write_text("litellm_settings: {max_budget: 1, budget_duration: 1d}\n")
    run(found, "-m", "venv", "--without-pip", place / "venv", cwd=place)
    python = place / "venv" / "bin" / "python"
    install(python, str(wheel))
    run(python, "-c", f"from {PACKAGE} import BudgetMiddleware, open_ledger", cwd=place)
    run(place / "venv" / "bin" / "budget-middleware", "init", cwd=place)
    if version == PYTHONS[0]:
        write_bill_of_materials(python, wheel)
    for extra in EXTRAS:
        try_extra(extra, python, wheel)
    tutorial(python)
    print(f"Python {version}: works without extras and with {', '.join(EXTRAS)}: {time.monotonic() - started:.0f} s")
    return True


def try_extra(name: str, python: Path, wheel: Path) -> None:
    extra, names_it = EXTRAS[name], f"budget-middleware[{name}]"
    if names_it not in (says := outcome(python, extra.words, extra.settings)):
        raise Fault(f"without the extra {name}, {' '.join(extra.words)} does not name it: {says[-400:]}")
    install(python, f"{wheel}[{name}]")
    says = outcome(python, extra.words_with_it or extra.words, extra.settings)
    if names_it in says or "Traceback" in says:
        raise Fault(f"with the extra {name}: {says[-400:]}")


def tutorial(python: Path) -> None:
    """The tutorial's blocks, with the `budget-middleware` that was installed."""
    path = f"{python.parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [python, "-m", "tests.tutorial"],
        cwd=ROOT,
        env=clean_environment({"PATH": path, "PYTHONPYCACHEPREFIX": str(python.parents[2])}),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Fault(f"docs/tutorial.md with the wheel: {(done.stdout + done.stderr)[-800:]}")


def write_bill_of_materials(python: Path, wheel: Path) -> None:
    """CycloneDX, of an installation without extras; the wheel stands in it with its own version."""
    file = wheel.with_name(f"{wheel.name.split('-py3')[0]}.cdx.json")
    made = [sys.executable, "-m", "cyclonedx_py", "environment", "--output-reproducible", "--output-format", "JSON"]
    run(*made, "--pyproject", ROOT / "pyproject.toml", "--mc-type", "library", "-o", file, python, cwd=file.parent)
    if '"name": "starlette"' not in file.read_text("utf-8"):
        raise Fault(f"{file.name} does not name what is installed")


def install(python: Path, what: str) -> None:
    run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", what, cwd=python.parents[2])


def outcome(python: Path, words: Sequence[str], settings: Mapping[str, str]) -> str:
    """What a command prints, whatever its exit code."""
    done = subprocess.run(
        [python, *words],
        cwd=python.parents[2],
        env=clean_environment(settings),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done.stdout + done.stderr


def clean_environment(settings: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in os.environ.items() if not name.startswith(("BUDGET_", "OTEL_"))} | settings


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise Fault(f"{' '.join(map(str, command))} ended with {done.returncode}: {done.stdout[-1500:]}")
    return done.stdout


if __name__ == "__main__":
    main()
