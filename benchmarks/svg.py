"""Pictures as plain SVG text, small enough to live beside the documentation."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

_FONT = 'font-family="Helvetica, Arial, sans-serif"'
WIDTH = 960


@dataclass(slots=True)
class Drawing:
    """Shapes on a white ground, which grows downwards; a title shows where the pointer rests."""

    height: float = 0
    shapes: list[str] = field(default_factory=list)

    def box(self, x: float, y: float, *, width: float, height: float, fill: str, title: str = "") -> None:
        """A filled rectangle."""
        shape = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{fill}"'
        self.shapes.append(f"<rect {shape}><title>{escape(title)}</title></rect>" if title else f"<rect {shape}/>")
        self.height = max(self.height, y + height)

    def text(
        self, x: float, y: float, words: str, *, size: int = 12, fill: str = "#222", anchor: str = "start"
    ) -> None:
        """One line of text, its base line at ``y``."""
        place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
        self.shapes.append(f'<text {place} font-size="{size}" fill="{fill}">{escape(words)}</text>')
        self.height = max(self.height, y + size / 2)

    def line(self, points: Sequence[tuple[float, float]], *, stroke: str, width: float = 1.5) -> None:
        """Straight lines from point to point."""
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.shapes.append(f'<polyline points="{path}" fill="none" stroke="{stroke}" stroke-width="{width}"/>')
        self.height = max(self.height, *(y for _, y in points))

    def render(self) -> str:
        """The whole picture."""
        height = round(self.height + 12)
        head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" {_FONT}>'
        ground = f'<rect width="{WIDTH}" height="{height}" fill="white"/>'
        return "\n".join([head, ground, *self.shapes, "</svg>"]) + "\n"
