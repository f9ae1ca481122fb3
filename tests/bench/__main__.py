"""Figures on this machine, as ratios where two are measured side by side: `make bench`.

    python -m tests.bench [--quick] [--check] [PART ...]

First what a message costs from callback to push (whole), then a backlog (pushes), then the parts of the web process.
Only when they are named: starved (a worker with little CPU), idle, console (an open page), house (calls and lines of
code for one push), store (bytes and keys), fairness (others' latency beside a flood), watched
(alerts with the console open and closed).
Linux only. Everything is on loopback, bounded in count and time, and ends by itself after some seven minutes.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.bench import (
    calls,
    console,
    fairness,
    house,
    idle,
    intake,
    introspection,
    pushes,
    sign_in,
    spooled,
    starved,
    store,
    tokens,
    users,
    watched,
    whole,
)
from tests.bench.figures import Row, machine, table
from tests.bench.processes import MeasuredRig, SecureMimcRig, SinkRig
from tests.bench.size import FULL, QUICK, Size

PARTS: Mapping[str, tuple[type[MeasuredRig], Callable[[Any, Size], list[Row]]]] = {
    "whole": (SinkRig, whole.measure),
    "pushes": (SinkRig, pushes.measure),
    "intake": (MeasuredRig, intake.measure),
    "spooled": (MeasuredRig, spooled.measure),
    "tokens": (SecureMimcRig, tokens.measure),
    "calls": (SecureMimcRig, calls.measure),
    "users": (MeasuredRig, users.measure),
    "introspection": (MeasuredRig, introspection.measure),
    "sign_in": (MeasuredRig, sign_in.measure),
    "starved": (SinkRig, starved.measure),
    "idle": (SinkRig, idle.measure),
    "console": (SinkRig, console.measure),
    "house": (MeasuredRig, house.measure),
    "fairness": (SinkRig, fairness.measure),
    "store": (MeasuredRig, store.measure),
    "watched": (SinkRig, watched.measure),
}
WHEN_NAMED = ("starved", "idle", "console", "house", "store", "fairness", "watched")
DEFAULT = tuple(name for name in PARTS if name not in WHEN_NAMED)


def main(argv: Sequence[str] | None = None) -> int:
    order = _arguments().parse_args(argv)
    if not sys.platform.startswith("linux"):
        sys.stderr.write("CPU time is read from /proc: this needs Linux\n")
        return 2
    size = replace(QUICK if order.quick else FULL, workers=order.workers, threads=order.threads)
    started = time.monotonic()
    rows = run(order.parts or DEFAULT, size)
    sys.stdout.write(f"{machine()}\n\n{table(rows)}\n\n{size.workers} gunicorn worker(s) x {size.threads} threads; ")
    sys.stdout.write(f"{time.monotonic() - started:.0f} s\n")
    return 1 if order.check and any(row.is_missed for row in rows) else 0


def run(parts: Sequence[str], size: Size) -> list[Row]:
    """The rows of these parts, each measured on a rig of its own."""
    rows: list[Row] = []
    for kind, measure in (PARTS[part] for part in parts):
        # short, for a socket's path has a limit of about 100 bytes
        with tempfile.TemporaryDirectory(prefix="bench-", dir="/tmp") as folder, kind(Path(folder) / "r") as rig:
            rows += measure(rig, size)
    return rows


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make bench", description="CPU and rates, as ratios, side by side")
    parser.add_argument("parts", nargs="*", metavar="|".join(PARTS), choices=[*PARTS, []], help="default: most")
    parser.add_argument("--quick", action="store_true", help="small numbers, for trying: two minutes")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a target is missed")
    parser.add_argument("--workers", type=int, default=FULL.workers, help="gunicorn's worker processes")
    parser.add_argument("--threads", type=int, default=FULL.threads, help="threads of each")
    return parser


if __name__ == "__main__":
    sys.exit(main())
