"""The rules as points: early refusals to the right, overspending upwards. Down and to the left is better."""

import math
from collections.abc import Sequence

from benchmarks.replay.figures import MOST_OVERSPENT, figures_of, of
from benchmarks.replay.grid import FIXED, LEARNED_LAST_CENT, LEARNED_WAITING, WORST, Contender, Result
from benchmarks.svg import WIDTH, Drawing

_LEFT, _RIGHT, _TOP, _BOTTOM = 70, WIDTH - 40, 60, 420
# Percent, on a scale of powers of ten; what is less stands on the lowest line.
_LEAST, _MOST = 0.1, 100.0
_STEPS = (0.1, 1, 10, 100)
_DOT = 5
# Where a label begins, from its point: two rules may come to nearly the same.
_ABOVE, _BELOW, _BESIDE = (9, -8), (9, 18), (9, 4)
_LABELS = {LEARNED_WAITING: _BELOW, LEARNED_LAST_CENT: _BESIDE, WORST: _BESIDE}
_LEARNED, _FIXED, _GRID, _AIM = "#c0392b", "#4472a8", "#dde2e8", "#2e8b57"


def draw(results: Sequence[Result], *, title: str) -> str:
    """One SVG of every rule that was replayed, without traces that shift."""
    points = {each: _point(of(results, each)) for each in dict.fromkeys(result.contender for result in results)}
    most_early = 10 * math.ceil(max(early for early, _ in points.values()) / 10)
    drawing = Drawing()
    drawing.text(_LEFT, 24, title, size=15)
    _draw_scales(drawing, most_early)
    places = {each: _place(point, most_early) for each, point in points.items()}
    drawing.line([places[each] for each in FIXED if each in places], stroke=_FIXED)
    for contender, (x, y) in places.items():
        fill = _LEARNED if contender.fixed_tokens is None else _FIXED
        drawing.box(x - _DOT, y - _DOT, width=2 * _DOT, height=2 * _DOT, fill=fill, title=_said(contender, points))
        right, down = _LABELS.get(contender, _ABOVE)
        drawing.text(x + right, y + down, contender.name, fill=fill)
    return drawing.render()


def _point(results: Sequence[Result]) -> tuple[float, float]:
    figures = figures_of(results)
    return 100 * figures.early, 100 * figures.over_1


def _place(point: tuple[float, float], most_early: float) -> tuple[float, float]:
    early, over = point
    height = math.log(max(_LEAST, over) / _LEAST) / math.log(_MOST / _LEAST)
    return _LEFT + (_RIGHT - _LEFT) * early / most_early, _BOTTOM - (_BOTTOM - _TOP) * height


def _draw_scales(drawing: Drawing, most_early: int) -> None:
    for percent in _STEPS:
        _, y = _place((0, percent), most_early)
        is_aim = percent == 100 * MOST_OVERSPENT
        drawing.line([(_LEFT, y), (_RIGHT, y)], stroke=_AIM if is_aim else _GRID, width=1)
        drawing.text(_LEFT - 8, y + 4, f"{'≤ ' if percent == _LEAST else ''}{percent:g} %", anchor="end")
    for percent in range(0, most_early + 1, 10):
        x, _ = _place((percent, _LEAST), most_early)
        drawing.line([(x, _TOP), (x, _BOTTOM)], stroke=_GRID, width=1)
        drawing.text(x, _BOTTOM + 18, f"{percent} %", anchor="middle")
    drawing.text(_LEFT, _TOP - 12, "windows that overspend by more than 1 % of the limit")
    drawing.text(_RIGHT, _BOTTOM + 38, "calls refused early, of those that the budget covers", anchor="end")


def _said(contender: Contender, points: dict[Contender, tuple[float, float]]) -> str:
    early, over = points[contender]
    return f"{contender.name}: {early:.1f} % refused early, {over:.2f} % of windows overspend"
