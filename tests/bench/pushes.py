"""A backlog: one worker plans group messages, then pushes the planned jobs; the Gate and a peer push as many or fewer.

    python -m tests.bench pushes

Devices and callbacks are written by the store's own code, as the web process would. While plan is measured the lane is
paused, as after a fault of ours, so nothing is pushed; once it goes on nothing is left to plan. The worker, and after
it the Gate (gate.py: no store, no payload to build), have one core; the APNs is the sink (sink.py), which shares the
other one with the store and takes little of it.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Self

from proxy.domain.callbacks import Callback
from proxy.domain.devices import Device, Platform
from proxy.domain.lanes import Lane
from proxy.mimc.wire import parse_callback
from proxy.settings import RelaySettings
from proxy.store import keys
from proxy.store.connection import Store, async_redis
from proxy.store.devices.registry import RedisDeviceRegistry
from proxy.store.queue.inbox import RedisInbox
from proxy.store.queue.lane_states import RedisLaneStates
from proxy.store.server.embedded import store_url
from tests import stored
from tests.bench.figures import Row, Spread, number
from tests.bench.processes import MeasuredRig, SinkRig, cores, cpu_seconds, pin, waiting_seconds
from tests.bench.size import Size
from tests.store.samples import for_inbox
from tests.system.rig import KEY_ID, OTHER, ROOT, SECTION, TEAM, TOPIC, offline_topic, push_token

LANE = Lane(OTHER, SECTION[OTHER], "apns")
DAY = timedelta(days=1)
PARTS = ("worker", "apns", "store")
_MOST_SECONDS = 90.0
# the worker looks for pauses once a second, and a read that it has begun waits up to two
_PAUSE_IS_SEEN_S = 3.5


@dataclass(frozen=True)
class Stretch:
    """A piece of work: how many, how long, and how much CPU each part used."""

    count: int
    seconds: float
    cpu_s: dict[str, float]
    waited_s: dict[str, float]

    @property
    def per_second(self) -> float:
        return self.count / self.seconds

    def us(self, part: str) -> float:
        return self.cpu_s[part] / self.count * 1e6

    def share(self, part: str) -> str:
        """Of one core, in per cent; with what it wanted beyond that and neighbours had."""
        got, waited = (some[part] / self.seconds * 100 for some in (self.cpu_s, self.waited_s))
        return f"{got:.0f} %" + (f" (+{waited:.0f} wanted)" if waited >= 5 else "")


@dataclass(frozen=True)
class Round:
    """The same pushes by the worker and by the Gate, and some of them by mopyapns."""

    plan: Stretch
    worker: Stretch
    gate: Stretch
    peer: Stretch


def measure(rig: SinkRig, size: Size) -> list[Row]:
    first, others = cores()
    pin(rig.processes["apns"], others)
    pin(rig.processes["store"], others)
    rounds: dict[int, list[Round]] = {delay_ms: [] for delay_ms in size.peer_pushes}
    with PushBench(rig, size.callbacks, size.members) as bench:
        bench.register()
        pin(rig.start_worker(), first)
        bench.round()  # warm: imports, connections, the provider token
        for _ in range(size.push_rounds):
            for delay_ms, peer_pushes in size.peer_pushes.items():
                rounds[delay_ms].append(_round(rig, bench, delay_ms, peer_pushes))
    planned = [one.plan for of_delay in rounds.values() for one in of_delay]
    rows = [row for delay_ms, of_delay in rounds.items() for row in push_rows(of_delay, delay_ms)]
    return [*rows, *plan_rows(planned, size)]


def _round(rig: SinkRig, bench: "PushBench", delay_ms: int, peer_pushes: int) -> Round:
    rig.sink.begin(delay_ms)
    plan, worker = bench.round()
    gate, others_pushes = gate_run(rig, worker.count), peer(rig, peer_pushes)
    # the last two warm up with a push of their own
    _check(rig, bench, worker.count + gate.count + 1 + others_pushes.count + 1)
    return Round(plan, worker, gate, others_pushes)


def _check(rig: SinkRig, bench: "PushBench", pushes: int) -> None:
    """Nothing went astray: no dead letter, no retry, and APNs has seen each push once."""
    astray, came = bench.astray(), rig.sink.count()
    if astray or came != pushes:
        raise AssertionError(f"{astray} dead letters and retries, {came} pushes instead of {pushes}")


class PushBench:
    """The accounts, their phones, and the rounds. Inside `with` its connections are open."""

    def __init__(self, rig: MeasuredRig, callbacks: int, members: int) -> None:
        self._rig = rig
        self._members = [f"member-{i}" for i in range(members)]
        self._callbacks = callbacks
        self._url = store_url(rig.folder / "store")
        self._redis = rig.redis()
        self._store = Store(self._url)
        self._inbox = RedisInbox(self._store, DAY, cap=1_000_000)
        self._sequence = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._redis.close()
        self._store.call(lambda redis: redis.close())

    def register(self, device_ids: Sequence[str] = ("phone", "tablet")) -> None:
        devices = RedisDeviceRegistry(self._store, {LANE.app: LANE.app_id})
        for account in self._members:
            for device_id in device_ids:
                now = datetime.now(UTC)
                devices.register(Device(LANE.app, account, device_id, Platform.APNS, push_token(), now))

    def round(self) -> tuple[Stretch, Stretch]:
        """Plan, then push what was planned."""
        self.pause()
        jobs = self._callbacks * len(self._members) * 2
        callbacks = [self.callback() for _ in range(self._callbacks)]
        plan = self._stretch(jobs, lambda: self.accept(callbacks), lambda: not self._callbacks_left())
        waiting = self._jobs_left()
        if waiting != jobs:
            raise AssertionError(f"{jobs} jobs were to be planned, {waiting} are")
        return plan, self._stretch(jobs, self._resume, lambda: not self._jobs_left())

    def _stretch(self, count: int, begin: Callable[[], None], done: Callable[[], bool]) -> Stretch:
        before = self._used()
        begin()
        started = time.perf_counter()
        while not done():
            if time.perf_counter() - started > _MOST_SECONDS:
                raise AssertionError(f"not done within {_MOST_SECONDS} s; logs: {self._rig.logs}")
            time.sleep(0.003)
        seconds = time.perf_counter() - started
        cpu_s, waited_s = (
            {part: now[part] - then[part] for part in PARTS} for then, now in zip(before, self._used(), strict=True)
        )
        return Stretch(count, seconds, cpu_s, waited_s)

    def _used(self) -> tuple[dict[str, float], dict[str, float]]:
        processes = {part: self._rig.processes[part] for part in PARTS}
        return (
            {part: cpu_seconds(process) for part, process in processes.items()},
            {part: waiting_seconds(process) for part, process in processes.items()},
        )

    def callback(self) -> Callback:
        """The next message to all members."""
        self._sequence += 1
        body = offline_topic("speaker", self._members, "see you at the station", self._sequence, app_id=OTHER)
        callback = parse_callback(json.dumps(body).encode())
        assert isinstance(callback, Callback)
        return callback

    def accept(self, callbacks: Sequence[Callback]) -> None:
        for callback in callbacks:
            self._inbox.accept(*for_inbox(callback, datetime.now(UTC)))

    def pause(self) -> None:
        """The lane is paused, and the worker knows it."""
        asyncio.run(self._pause())
        time.sleep(_PAUSE_IS_SEEN_S)

    def resume(self) -> None:
        """The lane may go on, as if it had never been paused; the worker looks for it once a second."""
        asyncio.run(self._lift())

    def astray(self) -> int:
        """Dead letters and retries."""
        letters, later = stored.dead_letters(self._redis, OTHER), stored.retries(self._redis, LANE)
        return stored.length(self._redis, letters) + stored.scored(self._redis, later)

    def _callbacks_left(self) -> int:
        return stored.length(self._redis, stored.callbacks(self._redis, OTHER))

    def _jobs_left(self) -> int:
        return stored.length(self._redis, stored.jobs(self._redis, LANE))

    def _resume(self) -> None:
        """And wait until the worker has begun."""
        waiting = self._jobs_left()
        self.resume()
        self._rig.wait(lambda: self._has_begun(waiting), "the first push")

    def _has_begun(self, waiting: int) -> bool:
        claimed = stored.pending(self._redis, stored.jobs(self._redis, LANE))["pending"]
        return bool(claimed) or self._jobs_left() < waiting

    async def _pause(self) -> None:
        now = datetime.now(UTC)
        redis = async_redis(self._url, 5)
        await RedisLaneStates(redis).pause(LANE, "measured", now, now + DAY)
        await redis.aclose()

    async def _lift(self) -> None:
        redis = async_redis(self._url, 5)
        await redis.set(keys.resumed(LANE), "1", px=2000)  # as if long ago: without the ramp that follows an outage
        await redis.delete(keys.pause(LANE), keys.probe(LANE))
        await redis.aclose()


def gate_run(rig: SinkRig, count: int) -> Stretch:
    """The Gate, in a process of its own on the worker's core, with as many in flight as a worker has."""
    facts = rig.facts["apns"]
    alert = {"title": "speaker", "body": "see you at the station"}
    order = {
        "url": f"https://127.0.0.1:{facts['port']}", "ca_file": facts["ca_file"], "count": count,
        "at_once": RelaySettings().in_flight,
        "headers": [
            f"apns-topic: {TOPIC[OTHER]}", f"authorization: bearer {'x' * 200}", "apns-push-type: alert",
            f"apns-id: {uuid.uuid4()}", f"apns-collapse-id: {'0' * 32}", "apns-expiration: 1900000000",
            "content-type:", "user-agent:", "accept:",
        ],
        "body": json.dumps({"aps": {"alert": alert, "sound": "default", "thread-id": "0" * 32}}),
    }  # fmt: skip
    return _alone("tests.bench.gate_run", order, count, "gate")


def peer(rig: SinkRig, count: int) -> Stretch:
    """mopyapns, in a process of its own on the worker's core."""
    facts = rig.facts["apns"]
    order = {
        "port": facts["port"], "ca_file": facts["ca_file"], "key_file": str(rig.folder / f"{SECTION[OTHER]}.p8"),
        "key_id": KEY_ID[OTHER], "team_id": TEAM[OTHER], "topic": TOPIC[OTHER], "count": count,
    }  # fmt: skip
    return _alone("tests.bench.peer", order, count, "peer")


def _alone(module: str, order: Mapping[str, object], count: int, name: str) -> Stretch:
    first, _ = cores()
    with subprocess.Popen(
        [sys.executable, "-m", module], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        os.sched_setaffinity(process.pid, first)
        printed, _ = process.communicate(json.dumps(order), timeout=_MOST_SECONDS)
    found = json.loads(printed)
    return Stretch(count, found["seconds"], {name: found["cpu_s"]}, {})


def plan_rows(planned: list[Stretch], size: Size) -> list[Row]:
    return [
        Row(
            f"plan, {size.members} members x 2 devices: jobs per second, one worker",
            Spread.of([one.per_second for one in planned]), _shares(planned, ("worker", "store")),
        ),
        Row("plan: CPU us of the worker per job", Spread.of([one.us("worker") for one in planned])),
    ]  # fmt: skip


def push_rows(rounds: list[Round], delay_ms: int) -> list[Row]:
    of = f"backlog of pushes, APNs {delay_ms} ms"
    workers, gates, peers = zip(*((one.worker, one.gate, one.peer) for one in rounds), strict=True)
    us = {part: median(stretch.us(part) for stretch in workers) for part in ("worker", "store")}
    gate_us, gate_rate, peer_rate = (
        median(gate.us("gate") for gate in gates),
        median(gate.per_second for gate in gates),
        median(some.per_second for some in peers),
    )
    rate = Spread.of([worker.per_second for worker in workers])
    return [
        Row(f"{of}: alerts/s, one worker", rate, _shares(workers, PARTS)),
        Row(
            f"{of}: alerts/s / the Gate's", Spread.of([one.worker.per_second / one.gate.per_second for one in rounds]),
            f"the Gate without a store: {number(gate_rate)}/s", least=0.5 if delay_ms else None,
        ),
        Row(
            f"{of}: the Gate's CPU for a push / the worker's",
            Spread.of([one.gate.us("gate") / max(one.worker.us("worker"), 1) for one in rounds]),
            f"{number(gate_us)} us to {number(us['worker'])} us; store {number(us['store'])} us",
        ),
        Row(
            f"{of}: alerts/s / mopyapns'", Spread.of([one.worker.per_second / one.peer.per_second for one in rounds]),
            f"mopyapns, one by one: {number(peer_rate)}/s",
        ),
    ]  # fmt: skip


def _shares(stretches: Sequence[Stretch], parts: tuple[str, ...]) -> str:
    """How much of a core each part used in the middle round, and so which one was the bottleneck."""
    middle = sorted(stretches, key=lambda stretch: stretch.per_second)[len(stretches) // 2]
    return "of a core: " + ", ".join(f"{part} {middle.share(part)}" for part in parts)
