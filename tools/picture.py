"""A picture from its text: `python tools/picture.py < docs/pictures/flow.txt > flow.svg` (make picture).

The text names boxes on a grid and arrows between them, see its head. The colours follow the reader's light or dark.
"""

import re
import sys
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT, GAP_X, GAP_Y, EDGE = 200, 78, 84, 42, 14
_BOX = re.compile(r"box (\w+) (\d+) (\d+) (ours|theirs|yours|store): (.+)")
_ARROW = re.compile(r"(arrow|both) (\w+) (\w+): ?(.*)")
_STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #1f2328; text-anchor: middle }
  .title { font-weight: 600; font-size: 14px }
  .label { font-size: 12px; fill: #57606a; paint-order: stroke; stroke: #ffffff; stroke-width: 5 }
  rect { stroke: #57606a; fill: #ffffff }
  .ours { fill: #dbeafe; stroke: #2563eb }
  .store { fill: #fef3c7; stroke: #b45309 }
  .yours { fill: #dcfce7; stroke: #15803d }
  line { stroke: #57606a; stroke-width: 1.5 }
  path { fill: #57606a }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .label { fill: #9da7b3; stroke: #0d1117 }
    rect { fill: #161b22; stroke: #9da7b3 }
    line { stroke: #9da7b3 }
    path { fill: #9da7b3 }
    .ours { fill: #172554; stroke: #60a5fa }
    .store { fill: #451a03; stroke: #fbbf24 }
    .yours { fill: #052e16; stroke: #4ade80 }
  }
"""


@dataclass(frozen=True)
class Box:
    """A rectangle; x and y are its upper left corner, in pixels."""

    x: int
    y: int
    kind: str
    words: "tuple[str, ...]"

    def edge_towards(self, other: "Box") -> "tuple[float, float]":
        """The middle of the side that looks at the other: a side of the same row, else the top or the bottom."""
        if self.x != other.x:
            return (self.x + WIDTH if other.x > self.x else self.x), self.y + HEIGHT / 2
        return self.x + WIDTH / 2, (self.y + HEIGHT if other.y > self.y else self.y)


def drawn(text: str) -> str:
    """The SVG of the picture that the text describes. Raises ValueError naming a line that is none."""
    boxes: dict[str, Box] = {}
    arrows: list[str] = []
    for line in text.splitlines():
        if box := _BOX.fullmatch(line):
            x, y = EDGE + int(box[2]) * (WIDTH + GAP_X), EDGE + int(box[3]) * (HEIGHT + GAP_Y)
            boxes[box[1]] = Box(x, y, box[4], tuple(it.strip() for it in box[5].split("|")))
        elif arrow := _ARROW.fullmatch(line):
            if missing := {arrow[2], arrow[3]} - boxes.keys():
                raise ValueError(f"no box of that name above: {', '.join(sorted(missing))}")
            arrows += _arrow(boxes[arrow[2]], boxes[arrow[3]], arrow[4], two_ways=arrow[1] == "both")
        elif line and not line.startswith("#"):
            raise ValueError(f"neither box nor arrow: {line}")
    width = max(it.x for it in boxes.values()) + WIDTH + EDGE
    height = max(it.y for it in boxes.values()) + HEIGHT + EDGE
    shapes = [it for box in boxes.values() for it in _rectangle(box)]
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
        "<!-- made by make picture -->",
        f"<style>{_STYLE}</style>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8"',
        'orient="auto-start-reverse"><path d="M0 0L8 4L0 8z"/></marker></defs>',
    ]
    return "\n".join([*head, *arrows, *shapes, "</svg>\n"])


def _rectangle(box: Box) -> "list[str]":
    first = box.y + HEIGHT / 2 + 5 - 9 * (len(box.words) - 1)
    shapes = [f'<rect class="{box.kind}" x="{box.x}" y="{box.y}" width="{WIDTH}" height="{HEIGHT}" rx="8"/>']
    for number, words in enumerate(box.words):
        look = "title" if number == 0 else ""
        shapes.append(
            f'<text class="{look}" x="{box.x + WIDTH / 2:g}" y="{first + 18 * number:g}">{escape(words)}</text>'
        )
    return shapes


def _arrow(start: Box, end: Box, label: str, *, two_ways: bool) -> "list[str]":
    (x1, y1), (x2, y2) = start.edge_towards(end), end.edge_towards(start)
    back = ' marker-start="url(#tip)"' if two_ways else ""
    shapes = [f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" marker-end="url(#tip)"{back}/>']
    if label:
        aside, above = (0, 6) if x1 != x2 else (38, -4)
        x, y = (x1 + x2) / 2 + aside, (y1 + y2) / 2 - above
        shapes.append(f'<text class="label" x="{x:g}" y="{y:g}">{escape(label)}</text>')
    return shapes


if __name__ == "__main__":
    sys.stdout.write(drawn(sys.stdin.read()))
