"""Which interpreter `make` uses: that of `.venv`, or the one that PYTHON names, in environments of its own."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.processes


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What a dry run of make reads."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def planned(clone: Path, *words: str) -> str:
    """What make would run."""
    command = ["make", "--dry-run", "--directory", str(clone), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def filled(clone: Path) -> None:
    """As if `make` had been used with this very interpreter."""
    (clone / ".venv" / "bin").mkdir(parents=True)
    (clone / ".venv" / "bin" / "python").symlink_to(sys.executable)


def interpreter(folder: Path, *, version: str) -> Path:
    """One that only tells its version."""
    path = folder / "python"
    path.write_text(f"#!/bin/sh\necho {version}\n")
    path.chmod(0o755)
    return path


def test_the_first_one_named_fills_the_common_environment(clone: Path):
    other = interpreter(clone, version="9.9")
    assert ".venv/bin/mypy\n" in planned(clone, "types", f"PYTHON={other}")


def test_another_version_has_environments_beside_it(clone: Path):
    filled(clone)
    other = interpreter(clone, version="9.9t")
    assert ".venv-9.9t/bin/mypy\n" in planned(clone, "types", f"PYTHON={other}")
    assert ".venv-9.9t-bench/bin/python -m benchmarks" in planned(clone, "bench", f"PYTHON={other}")


def test_the_same_version_has_the_common_ones(clone: Path):
    filled(clone)
    assert ".venv/bin/mypy\n" in planned(clone, "types")
    assert ".venv/bin/mypy\n" in planned(clone, "types", f"PYTHON={sys.executable}")
    assert ".venv-bench/bin/python -m benchmarks" in planned(clone, "bench", f"PYTHON={sys.executable}")


def test_one_that_is_not_there_is_named(clone: Path):
    filled(clone)
    command = ["make", "--directory", str(clone), "types", "PYTHON=python9.9"]
    says = subprocess.run(command, capture_output=True, text=True, check=False)
    assert says.returncode
    assert "Python 3.11 or newer is needed" in says.stderr
    assert "python9.9" in says.stderr
