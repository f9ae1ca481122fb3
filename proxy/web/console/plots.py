"""Lines over time, drawn as SVG by the server.

No script has to be loaded, kept and trusted for them; they follow light and dark by the page's own colours, come with
the part of the page that is polled, and say in words what they show.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import floor, log10

WIDTH, HEIGHT = 600, 120  # of the drawing, which is stretched to the room that there is


@dataclass(frozen=True)
class Line:
    """`values`, the oldest first; None where there was nothing to measure. `name` and `said` are for people."""

    name: str
    values: Sequence[float | None]
    said: Callable[[float], str]

    @property
    def most(self) -> float:
        return max((value for value in self.values if value is not None), default=0.0)

    @property
    def last(self) -> str:
        return "–" if self.values[-1] is None else self.said(self.values[-1])


@dataclass(frozen=True)
class Plot:
    """`title` and `since` are for people; `start` is the time of the first value, `end` that of the last."""

    title: str
    lines: Sequence[Line]
    start: datetime
    end: datetime

    @property
    def top(self) -> float:
        """The scale's end: a round number, so that the line does not jump with each value."""
        most = max((line.most for line in self.lines), default=0.0)
        if most <= 0:
            return 1.0
        size: float = 10.0 ** floor(log10(most))
        return next(step * size for step in (1, 2, 5, 10) if step * size >= most * 0.999)

    @property
    def top_said(self) -> str:
        return self.lines[0].said(self.top)

    def paths(self, line: Line) -> list[str]:
        """For <polyline points>: a piece for each run of values. A value alone is a short dash."""
        step, top, pieces = WIDTH / max(1, len(line.values) - 1), self.top, list[list[str]]([[]])
        for place, value in enumerate(line.values):
            if value is None:
                pieces.append([])
                continue
            y = HEIGHT - 2 - (HEIGHT - 4) * value / top
            pieces[-1].append(f"{place * step:.1f},{y:.1f}")
        return [" ".join(it if len(it) > 1 else [it[0], _dash(it[0])]) for it in pieces if it]

    @property
    def clocks(self) -> tuple[str, str]:
        """The times at both ends, UTC."""
        return f"{self.start.astimezone(UTC):%H:%M}", f"{self.end.astimezone(UTC):%H:%M}"


def _dash(point: str) -> str:
    x, _, y = point.partition(",")
    return f"{float(x) + 3:.1f},{y}"
