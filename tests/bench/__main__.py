"""First figures, as ratios, on this machine: `make bench`.

    python -m tests.bench [--quick] [intake] [spooled] [tokens] [users] [introspection] [sign_in] [pushes]

Linux only. Everything is on loopback, bounded in count and time, and ends by itself after three to four minutes.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tests.bench import intake, introspection, pushes, sign_in, spooled, tokens, users
from tests.bench.figures import Row, machine, table
from tests.bench.processes import MeasuredRig
from tests.bench.size import FULL, QUICK, Size

PARTS = ("intake", "spooled", "tokens", "users", "introspection", "sign_in", "pushes")
MEASURES = {
    "intake": intake.measure,
    "spooled": spooled.measure,
    "tokens": tokens.measure,
    "users": users.measure,
    "introspection": introspection.measure,
    "sign_in": sign_in.measure,
}


def main(argv: Sequence[str] | None = None) -> int:
    order = _arguments().parse_args(argv)
    if not sys.platform.startswith("linux"):
        sys.stderr.write("CPU time is read from /proc: this needs Linux\n")
        return 2
    size = replace(QUICK if order.quick else FULL, workers=order.workers, threads=order.threads)
    started = time.monotonic()
    rows = run(order.parts or PARTS, size)
    sys.stdout.write(f"{machine()}\n\n{table(rows)}\n\n{size.workers} gunicorn worker(s) x {size.threads} threads; ")
    sys.stdout.write(f"{time.monotonic() - started:.0f} s\n")
    return 0


def run(parts: Sequence[str], size: Size) -> list[Row]:
    """The rows of these parts; each delay of the emulated APNs has a rig of its own."""
    rows: list[Row] = []
    todo = [part for part in parts if part != "pushes"]
    for delay_ms in size.peer_pushes if "pushes" in parts else (0,):
        # short, for a socket's path has a limit of about 100 bytes
        with (
            tempfile.TemporaryDirectory(prefix="bench-", dir="/tmp") as folder,
            MeasuredRig(Path(folder) / "r", {"delay_ms": delay_ms}) as rig,
        ):
            while todo:
                rows += MEASURES[todo.pop(0)](rig, size)
            if "pushes" in parts:
                rows += pushes.measure(rig, size, delay_ms)
    return rows


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make bench", description="CPU and rates, as ratios, side by side")
    parser.add_argument("parts", nargs="*", metavar="|".join(PARTS), choices=[*PARTS, []], help="default: all")
    parser.add_argument("--quick", action="store_true", help="small numbers, for trying: half a minute")
    parser.add_argument("--workers", type=int, default=FULL.workers, help="gunicorn's worker processes")
    parser.add_argument("--threads", type=int, default=FULL.threads, help="threads of each")
    return parser


if __name__ == "__main__":
    sys.exit(main())
