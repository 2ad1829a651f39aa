"""Which supported versions of Python are on this machine; as a program, the paths of those beside its own version."""

import os
import subprocess
import sys
from pathlib import Path

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
_PYENV = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")


def interpreter(version: str) -> str | None:
    """A Python of this version that makes virtual environments; a shim may stand for one that is not there."""
    pyenv = sorted(_PYENV.glob(f"versions/{version}.*/bin/python3"))
    for candidate in [f"python{version}", *map(str, pyenv), sys.executable]:
        asked = f"import ensurepip, sys; print('%d.%d' % sys.version_info[:2] == {version!r})"
        command = [candidate, "-c", asked]
        try:
            says = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        except OSError:
            continue
        if says.strip() == "True":
            return candidate
    return None


def main() -> None:
    """The paths of those beside its own version; with `--newest` that of the newest one, unless it is its own."""
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    for version in reversed(PYTHONS):
        if version != own:
            if found := interpreter(version):
                print(found)
            else:
                print(f"Python {version}: not on this machine, not tried", file=sys.stderr)
                continue
        if "--newest" in sys.argv:
            break


if __name__ == "__main__":
    main()
