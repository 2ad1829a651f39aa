"""Two versions of the code: that of this working tree, and one that git still has, unpacked."""

import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.forking import forked_command
from tests.e2e.servers import REPOSITORY

PREVIOUS_COMMIT = "39cbb44"
"""The last one that writes records of the previous format."""


@dataclass(frozen=True)
class Version:
    """The code in ``tree``; what is started with it as working directory runs it."""

    name: str
    tree: Path
    format: int
    """Of the records that it writes; it reads this one and those before it."""

    def reads(self, other: "Version") -> bool:
        return self.format >= other.format

    def run(self, *words: str, settings: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """A command of its command line."""
        # PYTHONSAFEPATH would hide the tree, and the installed package would run in its place.
        env = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
        if self.tree == REPOSITORY:
            return forked_command(words, env={**env, **settings})
        command = [sys.executable, "-m", "budget_middleware", *words]
        return subprocess.run(
            command, cwd=self.tree, env={**env, **settings}, capture_output=True, text=True, check=False, timeout=120
        )


def unpack(commit: str, folder: Path) -> Path:
    """The package as it was at ``commit``. AssertionError where the clone is too shallow to know."""
    command = ["git", "-C", str(REPOSITORY), "archive", "--format=tar", commit, "budget_middleware"]
    ran = subprocess.run(command, capture_output=True, check=False)
    if ran.returncode:
        raise AssertionError(
            f"this clone has no commit {commit}, whose code this test runs; `git fetch --unshallow` gets it:"
            f" {ran.stderr.decode().strip()}"
        )
    with tarfile.open(fileobj=io.BytesIO(ran.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder
