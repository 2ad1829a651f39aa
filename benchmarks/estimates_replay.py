"""Early refusals and overspending of learned estimates beside fixed ones: windows of budgets, replayed from traces.

`make estimates-replay` makes its traces up; `make estimates-replay TRACES=DIR` reads those of a folder, CSV or gzipped
CSV with the columns t_seconds, input_tokens, output_tokens and perhaps session. It exits 1 unless the aims hold.
"""

import argparse
import gc
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from benchmarks.replay.figures import best_fixed, missed_aims, steady, tell
from benchmarks.replay.grid import DEMAND, Grid, Result, contenders_for, replay_all
from benchmarks.replay.made_up import make_traces
from benchmarks.replay.picture import draw
from benchmarks.replay.traces import Trace, TraceError, read_traces

PICTURE = Path("build/estimates-replay.svg")
SEED = 20261129
QUICK = Grid(budgets=(50,), in_flight=(5,), windows=2)
QUICK_RECORDS = 1_000


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parse(arguments)
    grid = QUICK if options.quick else Grid(windows=options.windows)
    try:
        traces = _traces(options)
    except TraceError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"seed {options.seed}: {', '.join(trace.name for trace in traces)}; {_said(grid)}\n")
    results = [*_replay(traces, grid, seed=options.seed, spreads=options.spread)]
    print(tell(results))
    options.picture.parent.mkdir(parents=True, exist_ok=True)
    options.picture.write_text(draw(steady(results), title=_title(options)), "utf-8")
    print(f"\ncompared with {best_fixed(steady(results))[0].name}; {options.picture} shows all rules")
    missed = missed_aims(results, are_real=options.traces is not None)
    print("\n".join(f"missed: {each}" for each in missed) or "every aim is met")
    return 1 if missed else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.estimates_replay", description=__doc__)
    parser.add_argument("--traces", type=Path, metavar="DIR", help="real traces; made-up ones without it")
    parser.add_argument("--seed", type=int, default=SEED, help=f"of all that is drawn (default {SEED})")
    parser.add_argument("--windows", type=int, default=Grid().windows, metavar="N", help="for each cell of the grid")
    parser.add_argument("--spread", type=float, default=2.0, help="how many spreads are held (default 2)")
    parser.add_argument("--picture", type=Path, default=PICTURE, metavar="FILE", help=f"SVG (default {PICTURE})")
    parser.add_argument("--quick", action="store_true", help="a few windows: whether it runs, not what is true")
    return parser.parse_args(arguments)


def _traces(options: argparse.Namespace) -> list[Trace]:
    if options.traces is not None:
        return read_traces(options.traces, seed=options.seed)
    return make_traces(seed=options.seed, **({"records": QUICK_RECORDS} if options.quick else {}))


def _replay(traces: Sequence[Trace], grid: Grid, *, seed: int, spreads: float) -> Iterator[Result]:
    columns = (TextColumn("{task.description:<24}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # The calls stay until the end, and a window makes few cycles: collections would take a fifth of the time.
    gc.freeze()
    gc.set_threshold(100_000)
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("", total=sum(grid.n_windows * len(contenders_for(trace)) for trace in traces))
        for trace in traces:
            progress.update(task, description=trace.name)
            for result in replay_all(trace, grid, seed=seed, spreads=spreads):
                progress.advance(task)
                yield result


def _said(grid: Grid) -> str:
    budgets, in_flight = ("/".join(map("{:,}".format, each)) for each in (grid.budgets, grid.in_flight))
    return f"budgets of {budgets} calls, {in_flight} in flight, {grid.windows} windows each, {DEMAND} times the demand"


def _title(options: argparse.Namespace) -> str:
    return f"{'Real' if options.traces else 'Made-up'} traces, seed {options.seed}"


if __name__ == "__main__":
    sys.exit(main())
