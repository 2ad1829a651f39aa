"""Build the wheel, compare it with the repository, and import it in a fresh virtualenv, as a user would.

An editable install hides files that the wheel forgets: Lua scripts, `py.typed`, pages of the dashboard.
"""

import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

PACKAGE = "budget_middleware"


def run(*command: str | Path, cwd: Path) -> str:
    return subprocess.run(command, cwd=cwd, check=True, stdout=subprocess.PIPE, text=True).stdout


def main() -> None:
    """Exit 1 with one line if the wheel lacks a file of the package; raise if it does not install or run."""
    root = Path(__file__).resolve().parent.parent
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", folder, root, cwd=folder)
        wheel = next(folder.glob("*.whl"))
        tracked = set(run("git", "ls-files", PACKAGE, cwd=root).split())
        if missing := sorted(tracked - set(zipfile.ZipFile(wheel).namelist())):
            sys.exit(f"{wheel.name} lacks {', '.join(missing)}")
        venv.create(folder / "venv", with_pip=True)
        python = folder / "venv" / "bin" / "python"
        run(python, "-m", "pip", "install", "--quiet", wheel, cwd=folder)
        run(python, "-c", f"from {PACKAGE} import BudgetMiddleware", cwd=folder)
        run(python, "-m", PACKAGE, "--help", cwd=folder)
        print(f"{wheel.name}: {len(tracked)} files, imports and runs")


if __name__ == "__main__":
    main()
