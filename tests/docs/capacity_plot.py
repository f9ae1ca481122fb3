"""docs/capacity.svg: what a service needs at its peak, drawn over the number of its users, from capacity_page.

Both axes are logarithmic. Plain SVG, for two plots are worth no library.
"""

import math
from collections.abc import Iterator, Mapping, Sequence

from tests.docs.capacity_page import PAGE, Need

PLOT = PAGE.with_suffix(".svg")
FEWEST, MOST = 5, 8  # powers of ten of users
_STEPS = 12  # to a power of ten
_WIDTH, _HEIGHT = 330, 250
_LEFT, _TOP, _BESIDE, _LABELS = 52, 46, 96, 40
_COLOURS = ("#0b6b5c", "#b35c00", "#3b5ea8", "#5a5a5a")
_WORDS = {3: "1,000", 4: "10,000", 5: "100,000", 6: "1 million", 7: "10 million", 8: "100 million"}


def drawn() -> str:
    """The file's text."""
    needs = [Need(round(10 ** (FEWEST + step / _STEPS))) for step in range((MOST - FEWEST) * _STEPS + 1)]
    cores = {
        "workers": [it.worker_cores for it in needs],
        "web": [it.web_cores for it in needs],
        "store": [it.store_cores for it in needs],
    }
    memory = {
        "all, and a copy": [it.memory_gb for it in needs],
        "devices": [it.gigabytes[0] for it in needs],
        "marks, history": [it.gigabytes[1] for it in needs],
        "waiting": [it.gigabytes[2] for it in needs],
    }
    plots = [("Cores at the peak", cores, -3, 2), ("GB of memory in the store", memory, -2, 3)]
    width = len(plots) * (_LEFT + _WIDTH + _BESIDE)
    height = _TOP + _HEIGHT + _LABELS
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        'font-family="sans-serif" font-size="12" fill="#222">',
        "<title>Cores and memory over the number of users</title>",
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for place, plot in enumerate(plots):
        left = place * (_LEFT + _WIDTH + _BESIDE) + _LEFT
        lines += [f'<g transform="translate({left} {_TOP})">', *_plot(*plot), "</g>"]
    return "\n".join([*lines, "</svg>", ""])


def _plot(title: str, curves: Mapping[str, Sequence[float]], least: int, most: int) -> Iterator[str]:
    def x(power: float) -> float:
        return (power - FEWEST) / (MOST - FEWEST) * _WIDTH

    def y(value: float) -> float:
        return _HEIGHT - (math.log10(value) - least) / (most - least) * _HEIGHT

    yield f'<text y="-22" font-size="14" font-weight="bold">{title}</text>'
    for power in range(least, most + 1):
        at = y(10**power)
        yield f'<path d="M0 {at:.1f}H{_WIDTH}" stroke="#ddd"/>'
        yield f'<text x="-8" y="{at + 4:.1f}" text-anchor="end">{10**power:,g}</text>'
    for power in range(FEWEST, MOST + 1):
        yield f'<path d="M{x(power):.1f} 0V{_HEIGHT}" stroke="#ddd"/>'
        yield f'<text x="{x(power):.1f}" y="{_HEIGHT + 18}" text-anchor="middle">{_WORDS[power]}</text>'
    yield f'<text x="{_WIDTH / 2}" y="{_HEIGHT + 34}" text-anchor="middle">users</text>'
    beside = float("-inf")
    ordered = sorted(curves.items(), key=lambda it: -it[1][-1])
    for (name, values), colour in zip(ordered, _COLOURS, strict=False):
        points = " ".join(f"{x(FEWEST + step / _STEPS):.1f},{y(value):.1f}" for step, value in enumerate(values))
        yield f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
        beside = max(y(values[-1]) + 4, beside + 14)  # no name over another
        yield f'<text x="{_WIDTH + 6}" y="{beside:.1f}" fill="{colour}">{name}</text>'
