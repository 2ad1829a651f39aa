"""A test that never ends, or takes all memory, fails by itself, and the others run."""

import mmap
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from tests.conftest import MOST_BYTES

SETTINGS = Path(__file__).parents[1] / "pyproject.toml"


@pytest.mark.processes
def test_one_that_swallows_its_timeout_fails_alone(tmp_path: Path):
    """Hypothesis takes the first time-out for a failure, and plays the example again to shrink it."""
    tests = """
        from hypothesis import given, strategies

        @given(strategies.none())
        def test_runaway(nothing):
            while True:
                pass

        def test_another():
            pass
    """
    (tmp_path / "test_both.py").write_text(dedent(tests))
    command = [sys.executable, "-m", "pytest", "-c", str(SETTINGS), "--rootdir", str(tmp_path), "--numprocesses=1"]
    soon = ["-o", "timeout=0.5", "-o", "faulthandler_timeout=1"]
    ran = subprocess.run([*command, *soon, str(tmp_path)], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "1 failed, 1 passed" in ran.stdout, ran.stdout
    assert "crashed while running 'test_both.py::test_runaway'" in ran.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux bounds what is writable")
def test_memory_is_bounded_and_address_space_is_free():
    with pytest.raises(MemoryError):
        bytearray(MOST_BYTES)
    mmap.mmap(-1, 100 * MOST_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=0).close()
