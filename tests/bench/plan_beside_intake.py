"""How long a callback waits for its 200 while callbacks for 10,000 accounts are planned, against the same without them.

    python -m tests.bench.plan_beside_intake [rounds]

The same load of p2p callbacks in turns: alone, and beside a worker that plans one group message for 10,000 accounts
after the other, without a pause. The groups' callbacks are put into the store from here and the lanes stand, so that
it is plan that is measured, not intake or delivery. Nothing is pinned to a core: gunicorn, worker, store and load
share what there is. About 12 s a round.
"""

import asyncio
import itertools
import json
import sys
import tempfile
import threading
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from proxy.domain.callbacks import Callback
from proxy.domain.lanes import Lane
from proxy.mimc.wire import parse_callback
from proxy.store.connection import Store, async_redis
from proxy.store.queue.inbox import RedisInbox
from proxy.store.queue.lane_states import RedisLaneStates
from proxy.store.server.embedded import store_url
from tests import stored
from tests.bench.figures import Row, Spread, machine, number, table
from tests.bench.processes import MeasuredRig
from tests.bench.web import Shot, Target, shoot
from tests.store.samples import for_inbox
from tests.system.rig import CHANNELS, MAIN, SECTION, URL_SECRET, offline, offline_topic

ACCOUNTS = 10_000
ROUNDS = 5
PER_SECOND = 150
CALLBACKS = 5 * PER_SECOND
CONNECTIONS = 16
LANES = [Lane(MAIN, SECTION[MAIN], channel) for channel in CHANNELS]
_numbers = itertools.count(1)


def measure(rig: MeasuredRig, rounds: int) -> list[Row]:
    web = rig.start_web(2)
    asyncio.run(stand(rig))
    rig.start_worker()
    target = Target(web, rig.web_port, f"/callbacks/mimc/{URL_SECRET[MAIN]}", bodies)
    shoot(target, CALLBACKS, CONNECTIONS, PER_SECOND)  # warm
    alone, beside, groups = list[Shot](), list[Shot](), list[int]()
    for _ in range(rounds):
        alone.append(shoot(target, CALLBACKS, CONNECTIONS, PER_SECOND))
        rig.wait(lambda: planned_all(rig), "the end of the plans")
        with Groups(rig) as planning:
            beside.append(shoot(target, CALLBACKS, CONNECTIONS, PER_SECOND))
        groups.append(planning.planned)
        clear(rig)
    each = f"{number(Spread.of(groups).middle)} x {ACCOUNTS:,} accounts planned meanwhile"
    return [
        _row(
            "callback in beside plan: p50 / p50 alone",
            [shot.p50_ms for shot in alone],
            [shot.p50_ms for shot in beside],
            "",
        ),
        _row(
            "callback in beside plan: p99 / p99 alone",
            [shot.p99_ms for shot in alone],
            [shot.p99_ms for shot in beside],
            each,
        ),
    ]


class Groups:
    """Within it, one group message after the other is accepted and planned; `planned` counts those that are done."""

    def __init__(self, rig: MeasuredRig) -> None:
        self.planned = 0
        self._rig = rig
        self._enough = threading.Event()
        self._begun = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Groups":
        self._thread.start()
        self._begun.wait(20)
        return self

    def __exit__(self, *error: object) -> None:
        self._enough.set()
        self._thread.join()

    def _run(self) -> None:
        members = [f"member-{number}" for number in range(ACCOUNTS)]
        store = Store(store_url(self._rig.folder / "store"))
        inbox = RedisInbox(store, timedelta(days=1), cap=1_000)
        while not self._enough.is_set():
            group = parse_callback(json.dumps(offline_topic("speaker", members, "to all", next(_numbers))).encode())
            assert isinstance(group, Callback)
            inbox.accept(*for_inbox(group, datetime.now(UTC)))
            self._begun.set()
            self._rig.wait(partial(self._is_planned, group.message_id), "the end of a plan", 60)
            self.planned += 1

    def _is_planned(self, message_id: str) -> bool:
        with self._rig.redis() as redis:
            return stored.marked(redis, stored.planned(redis, MAIN, message_id)) == ACCOUNTS


def bodies(count: int) -> list[str]:
    return [json.dumps(offline("speaker", f"reader-{n}", "hello", n)) for n in itertools.islice(_numbers, count)]


def planned_all(rig: MeasuredRig) -> bool:
    with rig.redis() as redis:
        return not stored.length(redis, stored.callbacks(redis, MAIN))


def clear(rig: MeasuredRig) -> None:
    """Drop the jobs of a round, which are not to be delivered."""
    rig.wait(lambda: planned_all(rig), "the end of the plans")
    with rig.redis() as redis:
        for lane in LANES:
            for stream in stored.jobs(redis, lane):
                redis.xtrim(stream, maxlen=0)


async def stand(rig: MeasuredRig) -> None:
    redis = async_redis(store_url(rig.folder / "store"), 5)
    now = datetime.now(UTC)
    for lane in LANES:
        await RedisLaneStates(redis).pause(lane, "measured", now, now + timedelta(days=1))
    await redis.aclose()


def _row(what: str, alone: list[float], beside: list[float], note: str) -> Row:
    ratios = [more / less for more, less in zip(beside, alone, strict=True)]
    figures = f"{number(Spread.of(beside).middle)} ms to {number(Spread.of(alone).middle)} ms"
    return Row(what, Spread.of(ratios), f"{figures}; {note}" if note else figures)


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    with (
        tempfile.TemporaryDirectory(prefix="bench-", dir="/tmp") as folder,
        MeasuredRig(Path(folder) / "r") as rig,
    ):
        sys.stdout.write(f"{machine()}\n\n{table(measure(rig, rounds))}\n")


if __name__ == "__main__":
    main()
