"""The service's web process and an empty Flask view under the same gunicorn line, hit in turns.

Both run on config/gunicorn.conf.py: the same worker class (the service's own), the same number of workers and threads,
each alone on the first core while it is hit; store, emulators and load have the others. Where a bench asks for it, a
third server has the empty view on gunicorn's own gthread, with the same number of workers and threads.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from proxy.local.ports import free_port
from tests.bench.figures import Row, Spread, number
from tests.bench.processes import MeasuredRig, cores, cpu_seconds, pin
from tests.bench.size import Size
from tests.listening import listens
from tests.system.rig import ROOT, Process

_MOST_SECONDS = 60.0
# one caller makes all the calls of a round: each is counted, and none is too many
_LIMITS = {f"APP_PROXY_LIMITS__TOKEN_PER_{by}": "1000000/second" for by in ("ACCOUNT", "ADDRESS")}
Bodies = Callable[[int], list[str]]


@dataclass(frozen=True)
class Shot:
    """What one round gave."""

    per_second: float
    cpu_us: float
    p50_ms: float
    p99_ms: float


Pair = tuple[Shot, Shot]  # ours, the other's


@dataclass(frozen=True)
class Target:
    """A route to be hit, and the gunicorn behind it."""

    server: Process
    port: int
    path: str
    bodies: Bodies
    headers: Mapping[str, str] = field(default_factory=dict)


def start_servers(rig: MeasuredRig, size: Size, **variables: str) -> tuple[Process, Process, int]:
    """The service's gunicorn, the empty view's and its port."""
    measured, others = cores()
    for process in rig.processes.values():
        pin(process, others)
    threads = {"APP_PROXY_SERVER__THREADS": str(size.threads), **_LIMITS, **variables}
    service = rig.start_web(size.workers, **threads)
    port = free_port()
    argv = [sys.executable, "-m", "gunicorn", "-c", str(ROOT / "config/gunicorn.conf.py"), "tests.bench.empty_view:app"]
    own = {
        "APP_PROXY_SERVER__BIND": f"127.0.0.1:{port}",
        "APP_PROXY_SERVER__OPERATOR_BIND": f"127.0.0.1:{free_port()}",
    }
    empty = rig.start("empty", argv, WEB_CONCURRENCY=str(size.workers), **threads, **own)
    rig.wait(lambda: listens("127.0.0.1", port), "the empty view")
    for process in (service, empty):
        pin(process, measured)
    return service, empty, port


def start_stock(rig: MeasuredRig, size: Size) -> tuple[Process, int]:
    """The empty view on gunicorn's own gthread, as any Flask service has it, and its port."""
    port = free_port()
    argv = [
        sys.executable, "-m", "gunicorn", "--worker-class", "gthread", "--workers", str(size.workers),
        "--threads", str(size.threads), "--keep-alive", "5", "--bind", f"127.0.0.1:{port}",
        "tests.bench.empty_view:app",
    ]  # fmt: skip
    stock = rig.start("stock", argv)
    rig.wait(lambda: listens("127.0.0.1", port), "the empty view on gthread")
    pin(stock, cores()[0])
    return stock, port


def compare(
    name: str,
    ours: Target,
    empty: Target,
    size: Size,
    against: str = "empty view's",
    stock: Target | None = None,
    most: float | None = None,
) -> tuple[list[Row], int]:
    """Rounds in turns: at full speed for CPU and rate, and at half of each one's own rate for the times.

    `against` says whose the other figures are; `stock` is the empty view on gunicorn's own gthread, and `most` what the
    CPU may be of that one's. Returns the rows, and how many requests of ours were answered 200, which is all of them or
    an error.
    """
    warm = max(size.requests // 4, size.connections)  # caches, pools, connections
    for target in (ours, empty, *([stock] if stock else [])):
        shoot(target, warm, size.connections)
    full, calm, beside_stock = list[Pair](), list[Pair](), list[Pair]()
    for _ in range(size.rounds):
        mine, other = (shoot(target, size.requests, size.connections) for target in (ours, empty))
        full.append((mine, other))
        if stock:
            beside_stock.append((mine, shoot(stock, size.requests, size.connections)))
        half = zip((ours, empty), (mine.per_second / 2, other.per_second / 2), strict=True)
        mine, other = (shoot(target, size.calm_requests, size.connections, rate) for target, rate in half)
        calm.append((mine, other))
    rows = [
        _row(f"{name}: CPU / {against}", full, lambda shot: shot.cpu_us, "us"),
        _row(f"{name}: calls per second / {against}", full, lambda shot: shot.per_second, "/s"),
        _row(f"{name}: p50 at half load / {against}", calm, lambda shot: shot.p50_ms, "ms"),
        _row(f"{name}: p99 at half load / {against}", calm, lambda shot: shot.p99_ms, "ms"),
    ]
    if stock:
        row = _row(f"{name}: CPU / empty view's on gthread", beside_stock, lambda shot: shot.cpu_us, "us")
        rows.append(replace(row, most=most))
    return rows, warm + size.rounds * (size.requests + size.calm_requests)


def shoot(target: Target, count: int, connections: int, per_second: float = 0.0) -> Shot:
    """One round from a process of its own. Raises AssertionError where an answer is not 200."""
    before = cpu_seconds(target.server)
    found = fire(target, target.bodies(count), connections, per_second)
    used = cpu_seconds(target.server) - before
    return Shot(count / found["seconds"], used / count * 1e6, found["p50_ms"], found["p99_ms"])


def fire(
    target: Target, bodies: Sequence[str], connections: int, per_second: float = 0.0, on: Collection[int] = ()
) -> dict[str, Any]:
    """What the load prints (load.py), which runs on these cores. Raises AssertionError where an answer is not 200."""
    order = {
        "port": target.port, "path": target.path, "headers": dict(target.headers), "bodies": bodies,
        "connections": connections, "per_second": per_second, "most_seconds": _MOST_SECONDS,
    }  # fmt: skip
    with subprocess.Popen(
        [sys.executable, "-m", "tests.bench.load"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as load:
        if on:
            os.sched_setaffinity(load.pid, on)
        printed, _ = load.communicate(json.dumps(order), timeout=_MOST_SECONDS + 30)
    found: dict[str, Any] = json.loads(printed)
    if found["statuses"] != {"200": len(bodies)}:
        raise AssertionError(f"{target.path.split('/')[1] or 'the empty view'} answered {found['statuses']}")
    return found


def _row(what: str, rounds: Sequence[Pair], value: Callable[[Shot], float], unit: str) -> Row:
    ours, empty = (Spread.of([value(shots[i]) for shots in rounds]).middle for i in (0, 1))
    ratios = [value(mine) / max(value(other), 1e-9) for mine, other in rounds]
    return Row(what, Spread.of(ratios), f"{number(ours)} {unit} to {number(empty)} {unit}")
