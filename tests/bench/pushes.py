"""One worker process plans group messages, then pushes the planned jobs to the emulated APNs; a peer pushes the same.

    python -m tests.bench pushes

Devices and callbacks are written by the store's own code, as the web process would. While plan is measured the lane is
paused, as after a fault of ours, so nothing is pushed; once it goes on nothing is left to plan. The emulated APNs has
the last core to itself, because it is slower than the worker: its share of a core says how much it held back.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from proxy.domain.callbacks import Callback
from proxy.domain.devices import Device, Platform
from proxy.domain.lanes import Lane
from proxy.mimc.wire import parse_callback
from proxy.store import keys
from proxy.store.connection import Store, async_redis
from proxy.store.devices.registry import RedisDeviceRegistry
from proxy.store.queue.inbox import RedisInbox
from proxy.store.queue.lane_states import RedisLaneStates
from proxy.store.server.embedded import store_url
from tests.bench.figures import Row, Spread, number
from tests.bench.processes import MeasuredRig, cores, cpu_seconds, pin, waiting_seconds
from tests.bench.size import Size
from tests.system.rig import KEY_ID, OTHER, ROOT, SECTION, TEAM, TOPIC, offline_topic, push_token

LANE = Lane(OTHER, SECTION[OTHER], "apns")
DAY = timedelta(days=1)
PARTS = ("worker", "apns", "store")
_MOST_SECONDS = 90.0
# the worker looks for pauses once a second, and a read that it has begun waits up to a second
_PAUSE_IS_SEEN_S = 2.2


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


def measure(rig: MeasuredRig, size: Size, delay_ms: int) -> list[Row]:
    """`rig` has an emulated APNs that answers after `delay_ms`."""
    first, others = cores()
    pin(rig.processes["apns"], others)
    bench = PushBench(rig, size)
    bench.register()
    pin(rig.start_worker(), first if len(others) == 1 else first | others)
    bench.round()  # warm: imports, connections, the provider token
    planned, pushed, peers = list[Stretch](), list[Stretch](), list[Stretch]()
    for _ in range(size.push_rounds):
        plan, push = bench.round()
        planned.append(plan)
        pushed.append(push)
        peers.append(peer(rig, size.peer_pushes[delay_ms]))
    bench.check(sum(it.count for it in [*pushed, *peers]))
    return [*plan_rows(planned, size), *push_rows(pushed, peers, delay_ms)]


class PushBench:
    """The accounts, their phones, and the rounds."""

    def __init__(self, rig: MeasuredRig, size: Size) -> None:
        self._rig = rig
        self._members = [f"member-{i}" for i in range(size.members)]
        self._callbacks = size.callbacks
        self._url = store_url(rig.folder / "store")
        self._redis = rig.redis()
        self._store = Store(self._url)
        self._inbox = RedisInbox(self._store, DAY, cap=1_000_000)
        self._sequence = 0

    def register(self) -> None:
        devices = RedisDeviceRegistry(self._store, {LANE.app: LANE.app_id})
        for account in self._members:
            for device_id in ("phone", "tablet"):
                now = datetime.now(UTC)
                devices.register(Device(LANE.app, account, device_id, Platform.APNS, push_token(), now))

    def round(self) -> tuple[Stretch, Stretch]:
        """Plan, then push what was planned."""
        asyncio.run(self._pause())
        time.sleep(_PAUSE_IS_SEEN_S)
        jobs = self._callbacks * len(self._members) * 2
        callbacks = [self._callback() for _ in range(self._callbacks)]
        plan = self._stretch(jobs, lambda: self._accept(callbacks), lambda: not self._length(keys.callbacks(OTHER)))
        waiting = self._length(keys.jobs(LANE))
        if waiting != jobs:
            raise AssertionError(f"{jobs} jobs were to be planned, {waiting} are")
        return plan, self._stretch(jobs, self._resume, lambda: not self._length(keys.jobs(LANE)))

    def check(self, least: int) -> None:
        """Nothing went astray: no dead letter, no retry, and the emulated APNs accepted all of it."""
        dead, retries = self._length(keys.dead_letters(OTHER)), self._redis.zcard(keys.retries(LANE))
        accepted = len(self._rig.accepted())
        if dead or retries or accepted < least:
            raise AssertionError(f"{dead} dead letters, {retries} retries, {accepted} of {least} accepted")

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

    def _callback(self) -> Callback:
        self._sequence += 1
        body = offline_topic("speaker", self._members, "see you at the station", self._sequence, app_id=OTHER)
        callback = parse_callback(json.dumps(body).encode())
        assert isinstance(callback, Callback)
        return callback

    def _accept(self, callbacks: list[Callback]) -> None:
        for callback in callbacks:
            self._inbox.accept(callback, datetime.now(UTC))

    def _length(self, stream: str) -> int:
        length: int = self._redis.xlen(stream)
        return length

    async def _pause(self) -> None:
        now = datetime.now(UTC)
        redis = async_redis(self._url, 5)
        await RedisLaneStates(redis).pause(LANE, "measured", now, now + DAY)
        await redis.aclose()

    def _resume(self) -> None:
        """Lift the pause, and wait until the worker has begun: it looks once a second."""
        waiting = self._length(keys.jobs(LANE))
        asyncio.run(self._lift())
        self._rig.wait(lambda: self._has_begun(waiting), "the first push")

    def _has_begun(self, waiting: int) -> bool:
        stream = keys.jobs(LANE)
        return bool(self._redis.xpending(stream, keys.GROUP)["pending"]) or self._length(stream) < waiting

    async def _lift(self) -> None:
        redis = async_redis(self._url, 5)
        await redis.set(keys.resumed(LANE), "1", px=2000)  # as if long ago: without the ramp that follows an outage
        await redis.delete(keys.pause(LANE), keys.probe(LANE))
        await redis.aclose()


def peer(rig: MeasuredRig, count: int) -> Stretch:
    """mopyapns, in a process of its own."""
    facts = rig.facts["apns"]
    order = {
        "port": facts["port"], "ca_file": facts["ca_file"], "key_file": str(rig.folder / f"{SECTION[OTHER]}.p8"),
        "key_id": KEY_ID[OTHER], "team_id": TEAM[OTHER], "topic": TOPIC[OTHER], "count": count,
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.peer"], input=json.dumps(order), stdout=subprocess.PIPE, text=True,
        cwd=ROOT, timeout=_MOST_SECONDS, check=True,
    )  # fmt: skip
    found = json.loads(done.stdout)
    return Stretch(count, found["seconds"], {"peer": found["cpu_s"]}, {})


def plan_rows(planned: list[Stretch], size: Size) -> list[Row]:
    return [
        Row(
            f"plan, {size.members} members x 2 devices: jobs per second, one worker",
            Spread.of([it.per_second for it in planned]), _shares(planned, ("worker", "store")),
        ),
        Row("plan: CPU us of the worker per job", Spread.of([it.us("worker") for it in planned])),
    ]  # fmt: skip


def push_rows(pushed: list[Stretch], peers: list[Stretch], delay_ms: int) -> list[Row]:
    of = f"push, answer after {delay_ms} ms"
    rate, us = Spread.of([it.per_second for it in pushed]), Spread.of([it.us("worker") for it in pushed])
    peer_rate, peer_us = (
        Spread.of([it.per_second for it in peers]).middle,
        Spread.of([it.us("peer") for it in peers]).middle,
    )
    pairs = list(zip(pushed, peers, strict=True))
    alone = 1e6 / us.middle if us.middle else float("inf")  # a short trial may be under one tick of the clock
    core = f"a core of it alone would do {number(alone)}/s; the store {number(_middle_us(pushed, 'store'))} us"
    return [
        Row(f"{of}: pushes per second, one worker", rate, _shares(pushed, PARTS)),
        Row(f"{of}: CPU us of the worker per push", us, f"{core}, the emulated APNs {_us(pushed, 'apns')}"),
        Row(
            f"{of}: pushes per second / mopyapns'", Spread.of([a.per_second / b.per_second for a, b in pairs]),
            f"mopyapns, one by one: {number(peer_rate)}/s",
        ),
        Row(
            f"{of}: CPU per push / mopyapns'", Spread.of([a.us("worker") / b.us("peer") for a, b in pairs]),
            f"mopyapns: {number(peer_us)} us",
        ),
    ]  # fmt: skip


def _middle_us(stretches: list[Stretch], part: str) -> float:
    return Spread.of([it.us(part) for it in stretches]).middle


def _us(stretches: list[Stretch], part: str) -> str:
    return f"{number(_middle_us(stretches, part))} us"


def _shares(stretches: list[Stretch], parts: tuple[str, ...]) -> str:
    """How much of a core each part used in the middle round, and so which one was the bottleneck."""
    names = {"worker": "worker", "apns": "emulated APNs", "store": "store"}
    middle = sorted(stretches, key=lambda it: it.per_second)[len(stretches) // 2]
    return "of a core: " + ", ".join(f"{names[part]} {middle.share(part)}" for part in parts)
