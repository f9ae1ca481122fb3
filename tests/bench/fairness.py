"""A flood leaves the others' latency: callback accepted to push at APNs, with a flood and without, in turn.

    python -m tests.bench fairness [--check]

The others are people who get a message 25 times a second. The flood is thousands of messages that wait already: of one
shard (their callbacks and their readers all lie in it), or of one app (over all shards); the others are in other
shards, or in another app. Last, and without an aim, of the app whose messages are measured: there each waits its turn.
The worker has one core, which the flood fills; the sink answers after 30 ms.
"""

import itertools
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from statistics import median

from proxy.compact_json import compact_json
from proxy.domain.callbacks import Callback, CallbackOrigin, Kind, Recipient
from proxy.domain.devices import Device, Platform
from proxy.domain.offline_messages import Letter
from proxy.store.connection import Store
from proxy.store.devices.registry import RedisDeviceRegistry
from proxy.store.queue.inbox import RedisInbox
from tests import stored
from tests.bench.figures import Row, Spread, number
from tests.bench.processes import SinkRig, cores, pin, store_of
from tests.bench.size import Size
from tests.store.samples import DAY, for_inbox
from tests.system.rig import MAIN, OTHER, SECTION, push_token

MOST = 2.0  # times the latency without
_EVERYBODY = range(200)
_EACH_S = 0.04
_DELAY_MS = 30
_TOGETHER = 64
_MARK = re.compile(r"~(\d+)~")
_SHARD = 3
_WARM = 50
Wanted = Callable[[Callback], bool]


@dataclass(frozen=True)
class Flood:
    """Messages of the app `of`, to these readers, which are `wanted`; those `to` an app that are measured beside it."""

    what: str
    of: str
    readers: Sequence[int]
    wanted: Wanted
    to: str
    measured: Wanted
    most: float | None = MOST


class FairnessBench:
    """People with an iPhone each in both apps, and numbers for messages."""

    def __init__(self, rig: SinkRig, store: Store) -> None:
        self._rig, self._store = rig, store
        self._inbox = RedisInbox(store, DAY, cap=10**6)
        self._numbers = itertools.count(1)
        self._redis = rig.redis()
        devices = RedisDeviceRegistry(store, {section: app_id for app_id, section in SECTION.items()})
        for section, person in itertools.product(SECTION.values(), _EVERYBODY):
            now = datetime.now(UTC)
            devices.register(Device(section, _name(person), "phone", Platform.APNS, push_token(), now))

    def close(self) -> None:
        self._redis.close()

    def floods(self) -> list[Flood]:
        layout = self._store.layout
        inside = [it for it in _EVERYBODY if layout.shard_of_account(_name(it)) == _SHARD]

        def is_inside(one: Callback) -> bool:
            return layout.shard_of_callback(one.callback_id) == _SHARD

        def is_outside(one: Callback) -> bool:
            return not is_inside(one) and layout.shard_of_account(one.recipients[0].account) != _SHARD

        return [
            Flood("of one shard, the others in other shards", MAIN, inside, is_inside, MAIN, is_outside),
            Flood("of one app, the others in another app", MAIN, _EVERYBODY, _any, OTHER, _any),
            Flood("of the app, the others in it", MAIN, _EVERYBODY, _any, MAIN, _any, most=None),
        ]

    def stretch(self, flood: Flood, waiting: int, measured: int) -> list[float]:
        """Sorted latencies in ms of `measured` messages of the others, while some of `waiting` messages wait."""
        self._rig.sink.begin(_DELAY_MS)
        others = self._messages(flood.to, _EVERYBODY, flood.measured, measured)
        ahead = self._messages(flood.of, flood.readers, flood.wanted, waiting)
        for at in range(0, len(ahead), _TOGETHER):
            self._accept(ahead[at : at + _TOGETHER])
        sent_ns = {}
        for one in others:
            self._accept([one])
            sent_ns[_number_of(one)] = time.monotonic_ns()
            time.sleep(_EACH_S)
            if waiting and not self._left(flood.of):
                break
        count = len(ahead) + len(sent_ns)
        self._rig.wait(lambda: self._rig.sink.count() >= count, "all pushes", 120)
        came_ns = {int(mark[1]): came for came, body in self._rig.sink.pushes() if (mark := _MARK.search(body))}
        return sorted((came_ns[message] - sent) / 1e6 for message, sent in sent_ns.items())

    def _left(self, app_id: str) -> int:
        """Of its callbacks."""
        return stored.length(self._redis, stored.callbacks(self._redis, app_id))

    def _accept(self, messages: Sequence[Callback]) -> None:
        now = datetime.now(UTC)
        self._inbox.accept_all([Letter(*for_inbox(one, now)) for one in messages])

    def _messages(self, app_id: str, readers: Sequence[int], wanted: Wanted, count: int) -> list[Callback]:
        made = (_message(app_id, number_, readers[number_ % len(readers)]) for number_ in self._numbers)
        return list(itertools.islice(filter(wanted, made), count))


def measure(rig: SinkRig, size: Size) -> list[Row]:
    first, others = cores()
    for process in rig.processes.values():
        pin(process, others)
    pin(rig.start_worker(), first)
    with store_of(rig) as store:
        bench = FairnessBench(rig, store)
        floods = bench.floods()
        for app_id in (MAIN, OTHER):  # warm: imports, connections, the provider tokens
            bench.stretch(replace(floods[1], to=app_id), 0, _WARM)
        rows = [row for flood in floods for row in _rows(bench, flood, size)]
        bench.close()
    return rows


def _rows(bench: FairnessBench, flood: Flood, size: Size) -> list[Row]:
    calm, flooded = list[list[float]](), list[list[float]]()
    for _ in range(size.fair_rounds):
        calm.append(bench.stretch(flood, 0, size.fair_messages))
        flooded.append(bench.stretch(flood, size.flood, size.fair_messages))
    return [
        Row(
            f"a flood {flood.what}: {name} / without",
            Spread.of([_at(share, one) / _at(share, other) for one, other in zip(flooded, calm, strict=True)]),
            f"{number(median(_at(share, it) for it in calm))} ms to {number(median(_at(share, it) for it in flooded))}"
            f" ms; {sum(map(len, flooded))} messages while callbacks of it waited",
            most=flood.most,
        )
        for name, share in (("p50", 0.5), ("p99", 0.99))
    ]


def _at(share: float, ordered: Sequence[float]) -> float:
    return ordered[int(len(ordered) * share)]


def _any(_: Callback) -> bool:
    return True


def _message(app_id: str, number_: int, reader: int) -> Callback:
    """Each from another sender, so that no alert replaces another."""
    return Callback(
        kind=Kind.OFFLINE_MSG,
        app_id=app_id,
        from_account=f"friend-{number_}",
        topic_id=None,
        recipients=(Recipient(_name(reader)),),
        payload=compact_json({"version": 0, "msgType": "TEXT", "payload": f"See you at seven ~{number_}~"}).encode(),
        origin=CallbackOrigin(app_id, (app_id,), None, None),
        sent_at=datetime.now(UTC),
        sequence=str(154503794553568000 + number_),
    )


def _name(reader: int) -> str:
    return f"reader-{reader}"


def _number_of(one: Callback) -> int:
    return int(one.from_account.rpartition("-")[2])
