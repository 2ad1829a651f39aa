"""A flame graph: each box is a function, as wide as its share of the samples, over the one that called it."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from itertools import takewhile

from benchmarks.svg import WIDTH, Drawing

_ROW = 16
_LEAST_SHARE = 0.004
_LETTER = 5.6
_COLOURS = (
    *("#e4a15b", "#d9785f", "#8fb8a8", "#7d9cc0", "#c9b458", "#b491b8", "#9fc27f"),
    *("#cf8fa4", "#a9a9a9", "#7fb5c9", "#d8c3a5", "#9aa6d6", "#c7a27c", "#86b07a"),
)

Stack = tuple[str, ...]


def draw_flames(stacks: Mapping[Stack, int], *, part_of: Callable[[Stack], str]) -> str:
    """The picture. What every stack begins with is left out, and boxes too narrow to see."""
    shared = _shared_depth(stacks)
    total = sum(stacks.values())
    drawing = Drawing()
    parts: dict[str, str] = {}
    boxes = list(_boxes(Counter({stack[shared:]: count for stack, count in stacks.items()}), total=total))
    depth = max((len(stack) for stack, _, _ in boxes), default=0)
    for stack, start, count in boxes:
        part = part_of(stack)
        colour = parts.setdefault(part, _COLOURS[len(parts) % len(_COLOURS)])
        x, y, width = WIDTH * start / total, _ROW * (depth - len(stack)), WIDTH * count / total
        title = f"{stack[-1]} ({part}): {100 * count / total:.1f} %"
        drawing.box(x, y, width=max(width - 0.5, 0.5), height=_ROW - 1, fill=colour, title=title)
        if letters := int(width / _LETTER):
            name = stack[-1].partition(":")[2].rpartition(".")[2]
            drawing.text(x + 2, y + 11, name if len(name) <= letters else name[: letters - 1], size=10)
    _draw_legend(drawing, parts, y=_ROW * depth + 18)
    return drawing.render()


def _shared_depth(stacks: Mapping[Stack, int]) -> int:
    return len(list(takewhile(lambda frames: len(set(frames)) == 1, zip(*stacks, strict=False))))


def _boxes(
    stacks: Mapping[Stack, int], *, total: int, above: Stack = (), start: int = 0
) -> Iterator[tuple[Stack, int, int]]:
    """Each box as its stack, where it starts, and its samples; siblings in the order of their names."""
    children: dict[str, Counter[Stack]] = {}
    for stack, count in stacks.items():
        if stack:
            children.setdefault(stack[0], Counter())[stack[1:]] += count
    for name in sorted(children):
        count = children[name].total()
        if count >= _LEAST_SHARE * total:
            yield (*above, name), start, count
            yield from _boxes(children[name], total=total, above=(*above, name), start=start)
        start += count


def _draw_legend(drawing: Drawing, parts: Mapping[str, str], *, y: float) -> None:
    x = 4.0
    for part, colour in sorted(parts.items()):
        width = 22 + _LETTER * 1.15 * len(part)
        if x + width > WIDTH:
            x, y = 4.0, y + _ROW
        drawing.box(x, y - 9, width=10, height=10, fill=colour)
        drawing.text(x + 14, y, part, size=11)
        x += width
