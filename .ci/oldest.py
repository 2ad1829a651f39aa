"""Prints the oldest versions that pyproject.toml allows, as requirements for pip.

Those of the package and its extras, and of what only tests have of OpenTelemetry, which fits nothing but its own day.
"""

import tomllib
from itertools import chain
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    read = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    extras = chain.from_iterable(read["project"]["optional-dependencies"].values())
    of_tests = (need for need in read["dependency-groups"]["dev"] if need.startswith("opentelemetry-"))
    for need in chain(read["project"]["dependencies"], extras, of_tests):
        print(need.replace(">=", "=="))


if __name__ == "__main__":
    main()
