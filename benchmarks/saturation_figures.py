"""What `saturation` tells of its visits: a table, and a picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.checkouts import OTHER, THIS
from benchmarks.svg import WIDTH, Drawing
from benchmarks.tables import table

_COLORS = {(THIS, False): "#1f4e79", (THIS, True): "#6fa8dc", (OTHER, False): "#7f6000", (OTHER, True): "#d9b86c"}
_LEFT, _HEIGHT, _LEGEND = 80.0, 200.0, 250


@dataclass(frozen=True, slots=True)
class Saturation:
    """One visit of so many workers. Figures are of pairs; ``busy`` is the share of a core that the main thread took."""

    says: str
    together: int
    has_file: bool
    workers: int
    round: int
    per_second: float
    cpu_us: float
    busy: float
    file_bytes: float
    server: str = ""
    """Its name and its allocator."""


_Way = tuple[str, int, bool, str]


def tell(figures: Sequence[Saturation]) -> str:
    """The medians of all rounds at the most workers. A ratio is formed within a round."""
    most = max(visit.workers for visit in figures)
    head = ["a pair on 3 accounts", "server", "verbs a call", "append-only file", "pairs/s", "of the other"]
    head += ["server's CPU us", "pairs/s of a core", "of the other", "core in use", "file's bytes"]
    rows: list[list[object]] = []
    for says, together, has_file, server in _ways(figures):
        visits = _of(figures, (says, together, has_file, server), most)
        others = _of(figures, (OTHER, together, has_file, server), most) or visits
        cpu_us = median(visit.cpu_us for visit in visits)
        pairs = list(zip(visits, others, strict=True))
        rows.append(
            [
                says,
                server,
                together,
                "yes" if has_file else "no",
                median(visit.per_second for visit in visits),
                median(one.per_second / other.per_second for one, other in pairs),
                cpu_us,
                1e6 / cpu_us,
                median(other.cpu_us / one.cpu_us for one, other in pairs),
                f"{100 * median(visit.busy for visit in visits):.0f} %",
                round(median(visit.file_bytes for visit in visits)),
            ]
        )
    return f"{most} workers:\n\n{table(head, rows)}"


def draw(figures: Sequence[Saturation]) -> str:
    """Pairs a second over the number of workers, a panel for each server and number of verbs a call."""
    drawing = Drawing()
    for server, together in dict.fromkeys((each.server, each.together) for each in figures):
        _panel(drawing, figures, server, together)
    return drawing.render()


def _panel(drawing: Drawing, figures: Sequence[Saturation], server: str, together: int) -> None:
    workers = sorted({each.workers for each in figures})
    curves = {
        way: [median(each.per_second for each in _of(figures, way, number)) for number in workers]
        for way in _ways(figures)
        if way[1] == together and way[3] == server
    }
    top, step = drawing.height + 50, (WIDTH - _LEFT - _LEGEND) / max(len(workers) - 1, 1)
    highest = 1.1 * max(map(max, curves.values()))
    drawing.text(8, top - 24, f"Pairs a second, {together} verb{'s' * (together > 1)} a call, {server}", size=14)
    for share in (0.0, 0.5, 1.0):
        y = top + _HEIGHT * (1 - share)
        drawing.line([(_LEFT, y), (WIDTH - _LEGEND, y)], stroke="#ddd", width=1)
        drawing.text(_LEFT - 8, y + 4, f"{highest * share:,.0f}", anchor="end")
    for number, count in enumerate(workers):
        drawing.text(_LEFT + step * number, top + _HEIGHT + 18, f"{count}", anchor="middle", size=11)
    drawing.text(_LEFT - 30, top + _HEIGHT + 18, "workers", anchor="end", size=11)
    for place, ((says, _, has_file, _), curve) in enumerate(curves.items()):
        color, name = _COLORS[says, has_file], f"{says}{', append-only file' * has_file}"
        points = [(_LEFT + step * at, top + _HEIGHT * (1 - value / highest)) for at, value in enumerate(curve)]
        drawing.line(points, stroke=color, width=2)
        for (x, y), value in zip(points, curve, strict=True):
            drawing.box(x - 3, y - 3, width=6, height=6, fill=color, title=f"{name}: {value:,.0f}")
        drawing.text(WIDTH - _LEGEND + 16, top + 14 + 20 * place, name, fill=color)


def _ways(figures: Sequence[Saturation]) -> list[_Way]:
    """Those without a file first, and this checkout's before the other's."""
    found = {(each.server, each.has_file, each.together, each.says == OTHER, each.says) for each in figures}
    return [(says, together, has_file, server) for server, has_file, together, _, says in sorted(found)]


def _of(figures: Sequence[Saturation], way: _Way, workers: int) -> list[Saturation]:
    """A visit a round."""
    wanted = (*way, workers)
    return [each for each in figures if (each.says, each.together, each.has_file, each.server, each.workers) == wanted]
