"""Does the service keep its size under a steady load? `make soak`: one hour; `make soak-short`: two minutes.

    python -m tests.soak [--seconds N] [--program FOLDER]

Linux only, on loopback. A store, the emulators, web and workers are started, and asked for the same things again and
again while providers refuse a few pushes and reset their connections. RSS and open files of each process and the
store's memory and keys are looked at every few seconds; after the warm-up they must be flat (see judge.py for what
that means). Prints a table; the exit code is 1 where something grows, or went wrong.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.figures import machine
from tests.bench.processes import MeasuredRig
from tests.soak.judge import Verdict, judge
from tests.soak.samples import ALLOWED, MB, Watch
from tests.soak.traffic import MARKS_LIFE_S, Traffic, remember_the_past
from tests.system.rig import ROOT, Process, Rig

HOUR_S = 3600
WORKERS = 2


@dataclass(frozen=True)
class Plan:
    """How long, how much of it is warm-up, and how often is looked and a connection reset."""

    seconds: float

    @property
    def warm_up_s(self) -> float:
        """A third, at most a quarter of an hour: in that time each worker has sent some 25,000 pushes."""
        return min(self.seconds / 3, 900)

    @property
    def every_s(self) -> float:
        return min(max(self.seconds / 100, 0.1), 5)

    @property
    def reset_every_s(self) -> float:
        return min(self.seconds / 10, 20)

    @property
    def history_max_bytes(self) -> int:
        """The history grows for ten minutes before the first of it is filed: a short run is without it."""
        return 2 * 2**20 if self.warm_up_s >= 900 else 0


def main(argv: Sequence[str] | None = None) -> int:
    order = _arguments().parse_args(argv)
    if not sys.platform.startswith("linux"):
        sys.stderr.write("memory and open files are read from /proc: this needs Linux\n")
        return 2
    # short, for a socket's path has a limit of about 100 bytes
    with tempfile.TemporaryDirectory(prefix="soak-", dir="/tmp") as folder:
        return run(Path(folder) / "r", Plan(order.seconds), order.program.resolve())


def run(folder: Path, plan: Plan, program: Path = ROOT) -> int:
    with MeasuredRig(folder, {}, {"dedupe_ttl_s": MARKS_LIFE_S}, program) as rig:
        set_to = {
            "APP_PROXY_LOGS__LEVEL": "warning",  # an hour of requests would fill the disk
            "APP_PROXY_ALERTS__HISTORY_MAX_BYTES": str(plan.history_max_bytes),
        }
        remember_the_past(rig)
        web, workers = rig.start_web(workers=2, **set_to), rig.start_workers(WORKERS, **set_to)
        with Traffic(rig) as traffic:
            rows = _watch(rig, plan, web, workers)
        rig.settled()
        callbacks = traffic.answers["callback", 200]
        wrong = [f"{times} x {what}: {status}" for (what, status), times in traffic.bad_answers.items()]
        wrong += [f"dead letter: {reason}" for reason in rig.dead_letters()]
        pushed = sum(rig.metric(worker, "app_proxy_jobs_settled_total", outcome="accepted") for worker in workers)
    verdicts = {name: judge(samples, ALLOWED[name.partition(":")[0]]) for name, samples in rows.items()}
    amount = (
        f"{callbacks} messages and {pushed:.0f} pushes in {plan.seconds:.0f} s, {plan.warm_up_s:.0f} s of them warm-up"
    )
    sys.stdout.write(f"{machine()}\n\n{table(verdicts)}\n\n{amount}\n")
    sys.stdout.writelines(f"wrong: {fault}\n" for fault in wrong)
    return 1 if wrong or any(verdict.grows for verdict in verdicts.values()) else 0


def table(verdicts: Mapping[str, Verdict]) -> str:
    """Medians of the quarters after the warm-up."""
    lines = ["| | 1st quarter | 2nd | 3rd | 4th | growth | allowed | |", "|---|---|---|---|---|---|---|---|"]
    for name, verdict in verdicts.items():
        figures = [_number(name, value) for value in (*verdict.quarters, verdict.growth, verdict.allowed)]
        lines.append(f"| {name} | {' | '.join(figures)} | {'GROWS' if verdict.grows else 'flat'} |")
    return "\n".join(lines)


def _number(name: str, value: float) -> str:
    return f"{value / MB:.2f} MB" if name.startswith(("RSS", "memory")) else f"{value:,.0f}"


def _watch(rig: Rig, plan: Plan, web: Process, workers: list[Process]) -> dict[str, list[float]]:
    """The samples after the warm-up, by name."""
    rig.fault("apns", effect="answer", status=503, reason="ServiceUnavailable", share=0.02)
    watch, rows = Watch(rig, web, workers), dict[str, list[float]]()
    started = time.monotonic()
    reset_at = started + plan.reset_every_s
    for number in range(int(plan.seconds / plan.every_s)):
        time.sleep(max(0.0, started + number * plan.every_s - time.monotonic()))
        if time.monotonic() >= reset_at:
            _reset_connections(rig)
            reset_at += plan.reset_every_s
        _forget_journals(rig)
        sample = watch.sample()
        if time.monotonic() - started >= plan.warm_up_s:
            for name, value in sample.items():
                rows.setdefault(name, []).append(value)
    watch.close()
    rig.end_faults("apns")
    return rows


def _reset_connections(rig: Rig) -> None:
    url = f"{rig.control('apns')}/connections"
    rig.http.post(url, json={"effect": "reset"}, timeout=10).raise_for_status()


def _forget_journals(rig: Rig) -> None:
    """They keep every request, and are no part of what is measured."""
    for emulator in ("apns", "mipush", "mimc"):
        rig.http.delete(f"{rig.control(emulator)}/journal", timeout=10).raise_for_status()


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make soak", description="does the service keep its size?")
    parser.add_argument("--seconds", type=float, default=HOUR_S, help="default: an hour")
    parser.add_argument("--program", type=Path, default=ROOT, help="folder of the program; default: this one")
    return parser


if __name__ == "__main__":
    sys.exit(main())
