"""The comparisons as bars: how many answers a second, and the CPU time of each."""

from collections.abc import Sequence

from benchmarks.rounds import Visit, of, typical
from benchmarks.scenarios import Comparison
from benchmarks.svg import WIDTH, Drawing

_ROW, _LABEL, _FIGURES = 22, 270, 245
_GUARDED, _OTHER = "#4472a8", "#b0b8c4"


def draw_bars(found: Sequence[tuple[Comparison, Sequence[Visit]]]) -> str:
    """A panel for each comparison and number of connections; within it, bars share a scale."""
    drawing = Drawing()
    for comparison, visits in found:
        for connections in dict.fromkeys(visit.connections for visit in visits):
            _panel(drawing, comparison, visits, connections)
    return drawing.render()


def _panel(drawing: Drawing, comparison: Comparison, visits: Sequence[Visit], connections: int) -> None:
    top = drawing.height + 30
    drawing.text(8, top, f"{comparison.title}, c = {connections}", size=14)
    rows = [(scenario, of(visits, scenario.name, connections)) for scenario in comparison.scenarios]
    fastest = max(typical(own, "per_second") for _, own in rows)
    for number, (scenario, own) in enumerate(rows):
        y = top + 10 + _ROW * number
        per_second, cpu_us = typical(own, "per_second"), typical(own, "cpu_us")
        width = (WIDTH - _LABEL - _FIGURES) * per_second / fastest
        drawing.text(_LABEL - 8, y + 14, scenario.says, anchor="end")
        drawing.box(_LABEL, y, width=width, height=_ROW - 5, fill=_GUARDED if scenario.is_guarded else _OTHER)
        drawing.text(_LABEL + width + 6, y + 14, f"{per_second:,.0f} answers/s, {cpu_us:,.0f} us CPU each")
