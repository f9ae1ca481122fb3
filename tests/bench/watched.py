"""The way from callback to push, with the console's first page open and closed in turn: is there a difference?

    python -m tests.bench watched

Pairs of rounds in one run, each in the other order, and each ratio is of one pair; what an open page takes
of web and store by itself is `console`. The page is asked for as a browser does: every 2 s, with the ETag it has.
"""

import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import median

import requests

from tests.bench.figures import Row, Spread, number
from tests.bench.history import interval
from tests.bench.processes import SinkRig, cores
from tests.bench.size import Size
from tests.bench.whole import CALLERS, PER_SECOND, Trip, WholeBench

_EVERY_S = 2.0  # as templates/console/live.html has it
_DELAY_MS = 30
_AFTER_A_FAILURE_S = 5.0


@contextmanager
def page_open(operator: str) -> Iterator[list[int]]:
    """A browser that looks at the first page; the statuses of its answers."""
    ended, statuses = threading.Event(), list[int]()

    def ask() -> None:
        os.sched_setaffinity(0, cores()[1])  # the browser is on a machine of its own
        with requests.Session() as http:
            http.trust_env, tag = False, ""
            while True:
                answer = http.get(f"{operator}/console/live/now", headers={"If-None-Match": tag}, timeout=30)
                statuses.append(answer.status_code)
                tag = answer.headers.get("ETag", "")
                if ended.wait(_EVERY_S):
                    return

    asking = threading.Thread(target=ask, name="browser")
    asking.start()
    try:
        yield statuses
    finally:
        ended.set()
        asking.join()


def measure(rig: SinkRig, size: Size) -> list[Row]:
    bench = WholeBench(rig)
    bench.round(size.trips // 4, 0, CALLERS)  # warm: imports, connections, the provider token
    full: list[tuple[Trip, Trip]] = []  # each with the page open, and closed
    even: list[tuple[Trip, Trip]] = []
    failures = 0
    while len(full) < size.pairs:
        trips: dict[bool, tuple[Trip, Trip]] = {}
        try:
            for is_open in (True, False) if len(full) % 2 else (False, True):
                trips[is_open] = _both(rig, bench, size, is_open=is_open)
        except AssertionError as error:  # on a busy machine the store may not answer in time, whatever is open
            failures += 1
            sys.stderr.write(f"a pair is measured again, its page {'open' if is_open else 'closed'}: {error}\n")
            if failures > size.pairs // 2:
                raise
            time.sleep(_AFTER_A_FAILURE_S)
            continue
        full.append((trips[True][0], trips[False][0]))
        even.append((trips[True][1], trips[False][1]))
    return [
        _row(f"{CALLERS} callers: alerts/s", [(one.per_second, other.per_second) for one, other in full]),
        _row(f"{CALLERS} callers: CPU of an alert, us", [(_cpu_us(one), _cpu_us(other)) for one, other in full]),
        _row(f"{PER_SECOND}/s: CPU of an alert, us", [(_cpu_us(one), _cpu_us(other)) for one, other in even]),
        _row(f"{PER_SECOND}/s: p50, ms", [(one.p50_ms, other.p50_ms) for one, other in even]),
        _row(f"{PER_SECOND}/s: p99, ms", [(one.p99_ms, other.p99_ms) for one, other in even]),
    ]


def _both(rig: SinkRig, bench: WholeBench, size: Size, *, is_open: bool) -> tuple[Trip, Trip]:
    def rounds() -> tuple[Trip, Trip]:
        full = bench.round(size.trips * 3, _DELAY_MS, CALLERS)
        return full, bench.round(size.trips // 5, _DELAY_MS, CALLERS, PER_SECOND)

    if not is_open:
        return rounds()
    with page_open(rig.operator) as statuses:
        found = rounds()
    if not set(statuses) <= {200, 304}:
        raise AssertionError(f"the page was answered {sorted(set(statuses))}")
    return found


def _cpu_us(trip: Trip) -> float:
    return trip.cpu_us["web"] + trip.cpu_us["worker"] + trip.cpu_us["store"]


def _row(what: str, pairs: Sequence[tuple[float, float]]) -> Row:
    """`least` and `most` are the interval of the median, in which 1 lies where there is no difference."""
    ratios = [one / other for one, other in pairs]
    least, most = interval(ratios)
    said = "no difference beyond the interval" if least <= 1 <= most else "a difference"
    one, other = (number(median(pair[place] for pair in pairs)) for place in (0, 1))
    return Row(
        f"{what}: the first page open / closed", Spread(median(ratios), least, most), f"{one} to {other}; {said}"
    )
