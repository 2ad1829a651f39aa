"""Bytes that each kind of record takes in the store, made by the real scripts: `python -m benchmarks sizes`.

`make bench ARGS="sizes --beside ../other"` measures the code of `../other` too.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from benchmarks.checkouts import OTHER, THIS, add_beside, checkouts, output_of
from benchmarks.results import keep, machine, told
from benchmarks.tables import table
from benchmarks.terminal import progress


@dataclass(frozen=True, slots=True)
class Size:
    """Bytes of one record, with its share of the server's tables and indexes."""

    says: str
    bytes: float
    checkout: str = THIS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--records", type=int, default=16_384, help="of each kind (default 16384)")
    add_beside(parser)


def run(options: argparse.Namespace) -> None:
    """Measure, print, keep the figures."""
    print(told(machine()))
    found: list[Size] = []
    for checkout, code in checkouts(options).items():
        progress(f"sizes: {checkout}")
        sizes = json.loads(output_of("sized_records.py", options.records, code=code))
        found += [Size(says, size, checkout) for says, size in sizes.items()]
    progress("")
    print(f"\n{tell(found)}")
    keep("sizes", [asdict(size) for size in found], options={"records": options.records})


def tell(figures: Sequence[Size]) -> str:
    """A row for each kind of record: one, and as many as 100 requests a second make in an hour."""
    others = {size.says: size.bytes for size in figures if size.checkout == OTHER}
    head, rows = ["record", "bytes", "MiB for 360,000"], list[list[object]]()
    if others:
        head += [f"bytes, {OTHER}", f"of {OTHER}"]
    for size in figures:
        if size.checkout == THIS:
            beside = [round(others[size.says]), size.bytes / others[size.says]] if others else []
            rows.append([size.says, round(size.bytes), f"{size.bytes * 360_000 / 2**20:,.0f}", *beside])
    return table(head, rows)
