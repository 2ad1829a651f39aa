"""Where a measurement finds the code: this checkout, and perhaps another one beside it."""

import argparse
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

THIS, OTHER = "this checkout", "the other checkout"
HERE = Path(__file__).parents[1]


def add_beside(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--beside", type=Path, metavar="FOLDER", help="another checkout, measured in turn with this one"
    )


def checkouts(options: argparse.Namespace) -> Mapping[str, Path]:
    """The folders that are to be measured, by what tables call them."""
    return {THIS: HERE} | ({OTHER: options.beside} if options.beside else {})


def environment_of(code: Path) -> Mapping[str, str]:
    """In which a script of this folder, run by its path, imports the packages of that checkout."""
    return {**os.environ, "PYTHONPATH": str(code.resolve())}


def command_of(script: str, *words: object) -> list[str]:
    return [sys.executable, str(Path(__file__).with_name(script)), *map(str, words)]


def output_of(script: str, *words: object, code: Path) -> str:
    """What a script of this folder prints about that checkout; it ends the measurement where it fails."""
    ran = subprocess.run(
        command_of(script, *words), env=environment_of(code), capture_output=True, text=True, check=False
    )
    if ran.returncode:
        sys.exit(f"{script} {' '.join(map(str, words))} in {code}: {ran.stderr.strip()}")
    return ran.stdout
