"""What `make bench` runs, about five minutes: comparisons, latency and script time, with a picture."""

import argparse

from benchmarks import compare, latency, scripts
from benchmarks.report import draw_pictures

_PARTS = (compare, latency, scripts)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quick", action="store_true", help="two minutes: one round")


def run(options: argparse.Namespace) -> None:
    """Each part with its own defaults."""
    for part in _PARTS:
        parser = argparse.ArgumentParser()
        part.add_arguments(parser)
        arguments = parser.parse_args([])
        if options.quick:
            vars(arguments).update({"rounds": 1, "requests": 200})
        part.run(arguments)
        print()
    for picture in draw_pictures():
        print(picture)
