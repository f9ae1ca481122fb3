"""A worker that gets 8 %, 15 %, 25 % and all of a core, while at least 1,000 callbacks wait: alerts per CPU-second.

    python -m tests.bench starved [--check]

A worker with x % of a core should do about x %: no path may do more work because it is late. Callbacks are put into
the store by its own code, so that only the worker is measured. See shares.py for how a process is slowed down.
"""

import itertools
import json
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from proxy.domain.callbacks import Callback
from proxy.mimc.wire import parse_callback
from proxy.store.queue.inbox import RedisInbox
from tests import stored
from tests.bench.figures import Row, Spread, number
from tests.bench.processes import SinkRig, cores, cpu_seconds, pin, store_of
from tests.bench.shares import share_of_a_core
from tests.bench.size import Size
from tests.bench.whole import register_readers
from tests.store.samples import for_inbox
from tests.system.rig import MAIN, offline

SHARES = (0.08, 0.15, 0.25, 1.0)
WAITING = 1_000
LEAST_RATIO, LONGEST_GAP_S = 0.7, 2.0
_READERS = 500
_FEEDERS = 4
_DELAY_MS = 30
_CAP = 50_000
_AHEAD = 4_000  # as many as the fastest worker may take until the feeders look again
_CALM_S = 2.0  # after a change of the share


@dataclass(frozen=True)
class Stint:
    """What a share of a core did in a while. `gap_s` is the longest time without a push, the edges included."""

    pushes: int
    seconds: float
    cpu_s: float
    gap_s: float
    least_waiting: int

    @property
    def per_cpu_s(self) -> float:
        return self.pushes / max(self.cpu_s, 0.01)


class Feeders:
    """Inside, the stream of callbacks never gets short."""

    def __init__(self, rig: SinkRig) -> None:
        self._rig = rig
        self._numbers = itertools.count(1)
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._feed, name="feeder") for _ in range(_FEEDERS)]
        self._redis = rig.redis()

    def __enter__(self) -> "Feeders":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
        self._redis.close()

    def waiting(self) -> int:
        return stored.length(self._redis, stored.callbacks(self._redis, MAIN))

    def _feed(self) -> None:
        with store_of(self._rig) as store:
            inbox = RedisInbox(store, timedelta(days=1), cap=_CAP)
            while not self._over.is_set():
                if self.waiting() > WAITING + _AHEAD:
                    time.sleep(0.005)
                    continue
                for callback in itertools.islice(self._callbacks(), 50):
                    inbox.accept(*for_inbox(callback, datetime.now(UTC)))

    def _callbacks(self) -> Iterator[Callback]:
        for message in self._numbers:
            body = offline("li", f"reader-{message % _READERS}", "see you at the station", message)
            callback = parse_callback(json.dumps(body).encode())
            assert isinstance(callback, Callback)
            yield callback


def measure(rig: SinkRig, size: Size) -> list[Row]:
    first, others = cores()
    for process in rig.processes.values():
        pin(process, others)
    register_readers(rig, _READERS)
    worker = rig.start_worker()
    pin(worker, first)
    rig.sink.begin(_DELAY_MS)
    stints, means = dict[float, list[Stint]](), set[str]()
    with Feeders(rig) as feeders:
        rig.wait(lambda: feeders.waiting() > WAITING + _AHEAD, "the first callbacks", 180)
        rig.wait(rig.sink.count, "the first push")
        for share in SHARES * size.starved_rounds:
            with share_of_a_core(worker.popen, share) as how:
                means |= {how} if share < 1 else set()
                time.sleep(_CALM_S)
                stints.setdefault(share, []).append(_stint(rig, feeders, size.starved_s))
    _warn(stints)
    return list(_rows(stints, " and ".join(sorted(means))))


def _stint(rig: SinkRig, feeders: Feeders, seconds: float) -> Stint:
    worker = rig.processes["worker"]
    rig.sink.begin(_DELAY_MS)
    began, used, least = time.monotonic(), cpu_seconds(worker), feeders.waiting()
    while (now := time.monotonic()) < began + seconds:
        time.sleep(min(0.1, began + seconds - now))
        least = min(least, feeders.waiting())
    took, used = time.monotonic() - began, cpu_seconds(worker) - used
    came = sorted(came_ns / 1e9 for came_ns, _ in rig.sink.pushes())
    inside = [at for at in came if at <= began + took]
    gap = max(after - before for before, after in itertools.pairwise([began, *inside, began + took]))
    return Stint(len(inside), took, used, gap, least)


def _rows(stints: dict[float, list[Stint]], how: str) -> Iterator[Row]:
    for share, found in stints.items():
        beside = (
            f"{number(Spread.of([stint.pushes / stint.seconds for stint in found]).middle)} alerts/s at "
            f"{number(Spread.of([stint.cpu_s / stint.seconds * 100 for stint in found]).middle)} % of a core; "
            f"longest gap {number(max(stint.gap_s for stint in found))} s; "
            f"at least {min(stint.least_waiting for stint in found):,} callbacks waited"
        )
        by = f", by {how}" if share < 1 else ""
        yield Row(
            f"worker at {share:.0%} of a core{by}: alerts per CPU-second",
            Spread.of([stint.per_cpu_s for stint in found]), beside,
        )  # fmt: skip
    rates = [Spread.of([stint.per_cpu_s for stint in found]).middle for found in stints.values()]
    yield Row(
        "alerts per CPU-second, lowest share's / highest's", Spread.of([min(rates) / max(rates)]), least=LEAST_RATIO
    )
    gaps = [stint.gap_s for found in stints.values() for stint in found]
    yield Row("longest time without a push while callbacks wait, s", Spread.of([max(gaps)]), most=LONGEST_GAP_S)


def _warn(stints: dict[float, list[Stint]]) -> None:
    least = min(stint.least_waiting for found in stints.values() for stint in found)
    if least < WAITING:
        sys.stderr.write(f"only {least} callbacks waited at some time: the store or its feeders were the limit\n")
