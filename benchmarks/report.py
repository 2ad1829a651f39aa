"""Put the figures of `build/bench` into docs/performance.md, and its pictures beside it: `python -m benchmarks report`.

A table stands between `<!-- figures: NAME -->` and `<!-- end -->`, and is that of the command which wrote NAME.json.
"""

import argparse
import json
import re
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import (
    compare,
    databases,
    latency,
    memory,
    profiling,
    saturation_figures,
    scale,
    scripts,
    sizes,
    spans,
    streams,
    summary,
    topologies,
)
from benchmarks.plot import draw_bars
from benchmarks.results import FOLDER, is_busy, told
from benchmarks.rounds import Visit
from benchmarks.scenarios import COMPARISONS

PAGE = Path("docs/performance.md")
PICTURES = Path("docs/performance")

TOLD: Mapping[str, tuple[Callable[..., Any], Callable[[Sequence[Any]], str]]] = {
    **{f"compare-{name}": (Visit, compare.tell) for name in COMPARISONS},
    "latency": (latency.Latency, latency.tell),
    "scripts": (scripts.ScriptTime, scripts.tell),
    "sizes": (sizes.Size, sizes.tell),
    "saturation": (saturation_figures.Saturation, saturation_figures.tell),
    "scale": (scale.Point, scale.tell),
    "spans": (spans.Cost, spans.tell),
    "memory": (memory.Sample, memory.tell),
    "streams": (streams.Held, streams.tell),
    "topologies": (topologies.PairTime, topologies.tell),
    "databases": (databases.PairRate, databases.tell),
    "profile-redis_3": (profiling.Share, profiling.tell),
    "profile-redis_3-stream": (profiling.Share, profiling.tell),
}
SUMMARY = "summary"
_PLACE = re.compile(r"(<!-- figures: (\S+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--page", type=Path, default=PAGE, help=f"to fill (default {PAGE})")


def run(options: argparse.Namespace) -> None:
    """Fill each place whose command was run, leave the others as they are, and say which."""
    drawn = draw_pictures()
    text = options.page.read_text("utf-8")
    options.page.write_text(fill(text), "utf-8")
    for name in places(text):
        print(f"{name:<24}{'filled' if _section(name) else 'left as it is: not measured'}")
    PICTURES.mkdir(exist_ok=True)
    for picture in drawn:
        shutil.copy(picture, PICTURES / picture.name)


def places(page: str) -> list[str]:
    """The names of the tables that the page has a place for."""
    return [name for _, name, *_ in _PLACE.findall(page)]


def fill(page: str) -> str:
    """The page with all tables that there are figures for."""
    return _PLACE.sub(lambda place: f"{place[1]}{_section(place[2]) or place[3]}{place[4]}", page)


def draw_pictures() -> Sequence[Path]:
    """Draw the comparisons; returns every picture there is."""
    found = [
        (COMPARISONS[name], _figures(f"compare-{name}")) for name in COMPARISONS if _file(f"compare-{name}").exists()
    ]
    if found:
        (FOLDER / "compare.svg").write_text(draw_bars(found))
    return sorted(FOLDER.glob("*.svg"))


def _file(name: str) -> Path:
    return FOLDER / f"{name}.json"


def _figures(name: str) -> Sequence[Any]:
    make, _ = TOLD[name]
    try:
        return [make(**figure) for figure in json.loads(_file(name).read_text())["figures"]]
    except TypeError:
        sys.exit(f"{_file(name)} was made by another version of the benchmarks: measure again, or delete it")


def _summary(measured: Sequence[str]) -> str:
    aims = summary.tell({name: _figures(name) for name in measured})
    busy = any(is_busy(json.loads(_file(name).read_text())["machine"]) for name in measured)
    note = "Provisional: some of it was measured while the machine was busy with other things.\n\n" if busy else ""
    return f"\n{aims}\n\n{note}" if aims else ""


def _section(name: str) -> str:
    """The table, and how it was made; empty where nothing was measured."""
    if name == SUMMARY:
        return _summary([each for each in TOLD if _file(each).exists()])
    if not _file(name).exists():
        return ""
    kept = json.loads(_file(name).read_text())
    made = f"`{kept['command']}`, {kept['made']}, commit {kept['machine']['commit']}, on {told(kept['machine'])}."
    return f"\n{TOLD[name][1](_figures(name))}\n\n{made}\n\n"
