"""How much of our own code one push runs, from the claim to the settlement, and how much code there is.

    python -m tests.bench house

A worker under sys.setprofile (traced.py), a real store and the emulated APNs. Jobs are planned while the lane is
paused, taken out of their stream and put back one at a time once the connection is warm: what is counted until it is
settled is one push alone. What the worker does meanwhile at fixed intervals is in there too; the lowest figure has the
least of it.
"""

import json
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from redis import Redis

from proxy.store.records import load_job
from proxy.store.server.embedded import store_url
from tests import stored
from tests.bench.figures import Row, Spread, number
from tests.bench.processes import MeasuredRig
from tests.bench.pushes import LANE, PushBench
from tests.bench.size import Size
from tests.system.rig import OTHER, ROOT, Process

_MOST_CALLS, _MOST_DEPTH = 134, 6.5  # half of what it was when it was measured first
_PUSHES = 25
_SETTLED_S = 0.02  # until what follows a settlement is done too
_WARM = 3
_RESUMED_IS_SEEN_S = 2.2  # the worker looks once a second


def measure(rig: MeasuredRig, size: Size) -> list[Row]:
    counts_file = rig.folder / "calls.json"
    worker = rig.start("worker", [sys.executable, "-m", "tests.bench.traced", str(counts_file), "worker"])
    with PushBench(rig, callbacks=1, members=_PUSHES + _WARM) as bench:
        bench.register(["phone"])
        records = _records(rig, bench)
    found = [_counted(rig, worker, counts_file, record) for record in records][_WARM:]
    worker.stop()
    return list(_rows(found))


def _records(rig: MeasuredRig, bench: PushBench) -> list[bytes]:
    """The planned jobs as they lay in their stream, which is empty now."""
    bench.pause()
    bench.accept([bench.callback()])
    with Redis.from_url(store_url(rig.folder / "store")) as redis:
        streams, callbacks = stored.jobs(redis, LANE), stored.callbacks(redis, OTHER)
        planned = _PUSHES + _WARM
        rig.wait(lambda: stored.length(redis, streams) == planned and not stored.length(redis, callbacks), "the plan")
        records = stored.jobs_in(redis, LANE)
        for stream in streams:
            redis.xtrim(stream, maxlen=0)
    bench.resume()
    time.sleep(_RESUMED_IS_SEEN_S)
    return records


def _counted(rig: MeasuredRig, worker: Process, counts_file: Path, record: bytes) -> dict[str, int]:
    with Redis.from_url(store_url(rig.folder / "store")) as redis:
        before = len(rig.accepted())
        _counts(worker, counts_file)
        stream = stored.stream_of(redis, LANE, load_job(record).account)
        redis.xadd(stream, {"r": record})
        rig.wait(lambda: not redis.xlen(stream), "the end of a push")
        time.sleep(_SETTLED_S)
        counts = _counts(worker, counts_file)
        assert len(rig.accepted()) == before + 1
    return counts


def _counts(worker: Process, counts_file: Path) -> dict[str, int]:
    """What was counted since the last call."""
    counts_file.unlink(missing_ok=True)
    worker.signal(signal.SIGUSR1)
    until = time.monotonic() + 10
    while not counts_file.exists() and time.monotonic() < until:
        time.sleep(0.005)
    found: dict[str, int] = json.loads(counts_file.read_text())
    return found


def _rows(found: list[dict[str, int]]) -> Iterator[Row]:
    def middle(name: str) -> str:
        return number(median(counts[name] for counts in found))

    yield Row(
        "one push, claim to settlement: calls of our functions", Spread.of([counts["calls"] for counts in found]),
        f"{middle('functions')} functions, {middle('modules')} modules; {middle('resumed')} times a coroutine went on",
        most=_MOST_CALLS,
    )  # fmt: skip
    depth = Spread.of([counts["depth"] for counts in found])
    yield Row("one push: most of our frames on the stack", depth, most=_MOST_DEPTH)
    lines = _lines()
    yield Row("lines of proxy/ without the emulators", Spread.of([lines]), f"{lines:,}")


def _lines() -> int:
    sources = [path for path in (ROOT / "proxy").rglob("*.py") if "emulators" not in path.parts]
    return sum(len(path.read_text().splitlines()) for path in sources)
