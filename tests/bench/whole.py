"""What a message costs from MIMC's callback to the push at APNs: web and one worker on one core, all else on the other.

    python -m tests.bench whole

One callback for one reader with one iPhone is one alert, as in private chat: small batches as they come, every check on
(authentication required, dedupe, fsync always, log at info, metrics, TLS). 128 callers without a pause say how many
alerts a core does; an even 100 a second say how long an alert takes. APNs is the sink (sink.py), which takes hardly any
of the other core and notes when a push came; the emulated APNs judges each push, and its journal knows whole ms.
"""

import json
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median
from typing import Any

from proxy.domain.devices import Device, Platform
from proxy.store.devices.registry import RedisDeviceRegistry
from tests.bench.figures import Row, Spread, number
from tests.bench.intake import authentication
from tests.bench.processes import SinkRig, cores, cpu_seconds, pin, store_of
from tests.bench.size import Size
from tests.bench.web import Target, fire
from tests.system.rig import APP_SECRET, MAIN, SECTION, URL_SECRET, Rig, offline, offline_topic, push_token

DELAYS_MS = (0, 30)
CALLERS, PER_SECOND = 128, 100
_MEASURED, _OTHERS = ("web", "worker"), ("store", "apns")
_READERS = 1000
_FIRST_TOPIC = 21351198708203520
_MARK = re.compile(r"~(\d+)~")
_MOST_SECONDS = 60.0
_SETTLED_S = 0.3  # until what was pushed is settled too, and its CPU counted


@dataclass(frozen=True)
class Trip:
    """One round: alerts a second, CPU us of each process for an alert, ms from callback to push, shares of a core."""

    per_second: float
    cpu_us: dict[str, float]
    p50_ms: float
    p99_ms: float
    shares: dict[str, float]


class WholeBench:
    """Processes, readers and rounds. Every round has messages of its own."""

    def __init__(self, rig: SinkRig, *, by_friends: bool = False, **variables: str) -> None:
        """`variables` are settings of web and worker. `by_friends`: nobody writes to the same reader twice."""
        self._rig, self._by_friends = rig, by_friends
        web = rig.start_web(1, APP_PROXY_APPS__MAIN__AUTHENTICATION="required", **variables)
        rig.start_worker(**variables)
        measured, self._others = cores()
        for names, allowed in ((_MEASURED, measured), (_OTHERS, self._others)):
            for name in names:
                pin(rig.processes[name], allowed)
        self._target = Target(web, rig.web_port, f"/callbacks/mimc/{URL_SECRET[MAIN]}", lambda _: [])
        self._sent = 0
        register_readers(rig, _READERS)

    def round(self, count: int, delay_ms: int, callers: int, per_second: float = 0.0) -> Trip:
        """Raises AssertionError where an alert does not arrive, or arrives twice."""
        first = self._sent
        self._sent += count
        bodies = [_body(message, self._sender(message)) for message in range(first, self._sent)]
        self._rig.sink.begin(delay_ms)
        before, started = self._used(), time.monotonic()
        sent_ns = fire(self._target, bodies, callers, per_second, self._others)["sent_ns"]
        self._rig.wait(lambda: self._rig.sink.count() >= count, "all pushes", _MOST_SECONDS)
        time.sleep(_SETTLED_S)
        took, used = time.monotonic() - started, self._used()
        came_ns = {int(mark[1]): came for came, body in self._rig.sink.pushes() if (mark := _MARK.search(body))}
        if self._rig.sink.count() != count or len(came_ns) != count:
            raise AssertionError(f"{count} alerts, {self._rig.sink.count()} pushes of {len(came_ns)} messages")
        waits_ms = sorted((came_ns[first + place] - sent) / 1e6 for place, sent in enumerate(sent_ns))
        spent = {name: used[name] - before[name] for name in used}
        return Trip(
            per_second=count / ((max(came_ns.values()) - sent_ns[0]) / 1e9),
            cpu_us={name: used_s / count * 1e6 for name, used_s in spent.items()},
            p50_ms=waits_ms[count // 2],
            p99_ms=waits_ms[int(count * 0.99)],
            shares={name: used_s / took * 100 for name, used_s in spent.items()},
        )

    def round_of_groups(self, count: int, members: int) -> dict[str, float]:
        """Messages to a group of these members, one caller; CPU us of each process for an alert."""
        first, alerts = self._sent, count * members
        self._sent += count
        bodies = [_group_body(message, members) for message in range(first, self._sent)]
        self._rig.sink.begin(0)
        before = self._used()
        fire(self._target, bodies, 1, 0.0, self._others)
        self._rig.wait(lambda: self._rig.sink.count() >= alerts, "all pushes", _MOST_SECONDS)
        time.sleep(_SETTLED_S)
        used = self._used()
        if self._rig.sink.count() != alerts:
            raise AssertionError(f"{alerts} alerts, {self._rig.sink.count()} pushes")
        return {name: (used[name] - before[name]) / alerts * 1e6 for name in used}

    def _sender(self, message: int) -> str:
        return f"friend-{message // _READERS}" if self._by_friends else "li"

    def _used(self) -> dict[str, float]:
        return {name: cpu_seconds(self._rig.processes[name]) for name in (*_MEASURED, *_OTHERS)}


def register_readers(rig: Rig, count: int) -> None:
    """Each with one iPhone, in the section `main`."""
    now = datetime.now(UTC)
    with store_of(rig) as store:
        devices = RedisDeviceRegistry(store, {SECTION[MAIN]: MAIN})
        for reader in range(count):
            devices.register(Device(SECTION[MAIN], f"reader-{reader}", "phone", Platform.APNS, push_token(), now))


def measure(rig: SinkRig, size: Size) -> list[Row]:
    bench = WholeBench(rig)
    bench.round(size.trips // 4, 0, CALLERS)  # warm: imports, connections, the provider token
    closed: dict[int, list[Trip]] = {delay_ms: [] for delay_ms in DELAYS_MS}
    even: dict[int, list[Trip]] = {delay_ms: [] for delay_ms in DELAYS_MS}
    for _ in range(size.push_rounds):
        for delay_ms in DELAYS_MS:
            closed[delay_ms].append(bench.round(size.trips, delay_ms, CALLERS))
            even[delay_ms].append(bench.round(size.trips // 3, delay_ms, CALLERS, PER_SECOND))
    return [
        row
        for delay_ms in DELAYS_MS
        for row in (
            *_closed_rows(f"callback to push, {CALLERS} callers, APNs {delay_ms} ms", closed[delay_ms]),
            *_even_rows(f"callback to push, {PER_SECOND}/s, APNs {delay_ms} ms", even[delay_ms]),
        )
    ]


def _closed_rows(of: str, trips: list[Trip]) -> list[Row]:
    others = ", ".join(f"{name} {number(median(trip.shares[name] for trip in trips))} %" for name in _OTHERS)
    rates = Spread.of([trip.per_second for trip in trips])
    return [Row(f"{of}: alerts/s, one core", rates, f"of the other core: {others}"), _cpu_row(of, trips)]


def _even_rows(of: str, trips: list[Trip]) -> list[Row]:
    return [
        Row(f"{of}: ms, p50", Spread.of([trip.p50_ms for trip in trips])),
        Row(f"{of}: ms, p99", Spread.of([trip.p99_ms for trip in trips])),
        _cpu_row(of, trips),
    ]


def _cpu_row(of: str, trips: list[Trip]) -> Row:
    """CPU-s for 10,000 alerts are us for an alert, divided by 100."""
    sums = Spread.of([sum(trip.cpu_us[name] for name in _MEASURED) / 100 for trip in trips])
    each = ", ".join(
        f"{name} {number(median(trip.cpu_us[name] for trip in trips) / 100)}" for name in (*_MEASURED, "store")
    )
    return Row(f"{of}: CPU-s for 10,000 alerts, web + worker", sums, each)


def _body(message: int, sender: str) -> str:
    text = f"See you at seven at the north gate ~{message}~"
    return _signed(offline(sender, f"reader-{message % _READERS}", text, message, resources=["phone"]))


def _group_body(message: int, members: int) -> str:
    readers = [f"reader-{reader}" for reader in range(members)]
    text, topic_id = "See you at seven at the north gate", str(_FIRST_TOPIC + message)
    return _signed(offline_topic("li", readers, text, message, topic_id=topic_id))


def _signed(body: dict[str, Any]) -> str:
    body["authentication"] = authentication(body["timestamp"], MAIN, APP_SECRET[MAIN])
    return json.dumps(body)
