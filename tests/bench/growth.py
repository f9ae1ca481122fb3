"""What an alert costs where the store holds much, beside a store that holds little, in turn; and what a worker needs.

    python -m tests.bench.growth [--devices N] [--callbacks N] [--jobs N] [--rounds N]

Two rigs: one has 1,000 devices, the other N, seven accounts to ten of them. Devices are registered by the program's
own steps, many at a time. An alert is a message between two, accepted by the program's inbox and pushed by a worker
with a core of its own; the store's CPU is that of intake, plan and delivery. Then messages wait: as callbacks while no
worker runs, and as jobs while the lane is paused. A new worker is timed from its start to its first push; its memory is
the most that it ever had, with 500 pushes in flight.
"""

import argparse
import itertools
import multiprocessing
import random
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from proxy.compact_json import compact_json
from proxy.domain.callbacks import Callback, CallbackOrigin, Kind, Recipient
from proxy.domain.devices import Device, Platform
from proxy.domain.lanes import Lane
from proxy.domain.offline_messages import Letter
from proxy.local.ports import free_port
from proxy.store.connection import Store
from proxy.store.devices.changes import change
from proxy.store.devices.registering import registering
from proxy.store.queue.inbox import RedisInbox
from proxy.store.scripts import ask_now
from proxy.store.server.embedded import store_url
from proxy.store.steps import Steps
from tests import stored
from tests.bench.figures import Row, Spread, machine, number, table
from tests.bench.processes import SinkRig, cores, cpu_seconds, pin
from tests.bench.pushes import PushBench
from tests.store.samples import DAY, for_inbox
from tests.system.rig import OTHER, SECTION, Process

FEW = 1000
MOST_RATIO, MOST_READY_S, MOST_RSS_MB = 1.15, 3.0, 150.0
LANE = Lane(OTHER, SECTION[OTHER], "apns")
_ALERTS, _MEMBERS, _CROWD = 3000, 500, 10_000
_TOGETHER, _PER_ACCOUNT = 128, 20
_SLOW_MS = 1500
_HELD_S = 8.0
_SEED = 10


@dataclass
class Side:
    """A rig and how many devices its store has."""

    rig: SinkRig
    devices: int

    def __post_init__(self) -> None:
        self.store = Store(store_url(self.rig.folder / "store"), timeout_s=30)
        self._inbox = RedisInbox(self.store, DAY, cap=10**8)
        self._numbers = itertools.count(1)
        self._chance = random.Random(_SEED)

    @property
    def accounts(self) -> int:
        return self.devices * 7 // 10

    def start_worker(self) -> Process:
        worker = self.rig.start_worker()
        pin(worker, cores()[0])
        return worker

    def alerts(self, count: int) -> list[float]:
        """CPU us of worker and store for each."""
        self.rig.wait(self._is_calm, "the end of what the store does by itself", 60)
        self.rig.sink.begin(0)
        before = self._used_s()
        pushes = self.accept(count)
        self.rig.wait(lambda: self.rig.sink.count() >= pushes, "all pushes", 120)
        self.rig.settled(OTHER)
        return [(now - then) / pushes * 1e6 for now, then in zip(self._used_s(), before, strict=True)]

    def _used_s(self) -> list[float]:
        """Of the store without its child, which rewrites the log."""
        cpu = self.store.call(lambda redis: redis.info("cpu"))
        return [cpu_seconds(self.rig.processes["worker"]), cpu["used_cpu_user"] + cpu["used_cpu_sys"]]

    def _is_calm(self) -> bool:
        return not self.store.call(lambda redis: redis.info("persistence"))["aof_rewrite_in_progress"]

    def accept(self, count: int, members: int = 1) -> int:
        """Messages to people by chance; to a crowd where there are `members`. Returns how many pushes they become."""
        pushes = 0
        for first in range(0, count, _TOGETHER if members == 1 else 1):
            now, letters = datetime.now(UTC), list[Letter]()
            for _ in range(min(_TOGETHER, count - first) if members == 1 else 1):
                readers = [self._chance.randrange(self.accounts)]
                if members > 1:
                    readers = [(readers[0] + it) % self.accounts for it in range(min(members, self.accounts))]
                pushes += sum(map(self._phones, readers))
                letters.append(Letter(*for_inbox(_message(next(self._numbers), readers), now)))
            self._inbox.accept_all(letters)
        return pushes

    def _phones(self, account: int) -> int:
        """Devices are dealt out in turn: some accounts have one more."""
        return self.devices // self.accounts + (account < self.devices % self.accounts)

    def register(self) -> None:
        halves = [range(half, self.devices, 2) for half in range(2)]
        url = store_url(self.rig.folder / "store")
        with multiprocessing.get_context("spawn").Pool(2) as pool:
            pool.starmap(_register, [(url, half, self.accounts) for half in halves])


def _register(url: str, numbers: Sequence[int], accounts: int) -> None:
    """Many registrations at a time, each step of all in one round trip."""
    store = Store(url, timeout_s=30)
    for first in range(0, len(numbers), _TOGETHER):
        of = change(store.layout, OTHER, LANE.app)
        under_way = [registering(of, _device(n, accounts), _PER_ACCOUNT) for n in numbers[first : first + _TOGETHER]]
        _take_together(store, under_way)


def _take_together(store: Store, all_steps: Sequence[Steps[object]]) -> None:
    asked = [(steps, list(next(steps))) for steps in all_steps]
    while asked:
        commands = [command for _, some in asked for command in some]
        answers = iter(store.call(partial(ask_now, commands=commands)))
        again = []
        for steps, some in asked:
            try:
                again.append((steps, list(steps.send(list(itertools.islice(answers, len(some)))))))
            except StopIteration:
                continue
        asked = again


def measure(folder: Path, devices: int, callbacks: int, jobs: int, rounds: int) -> Iterator[Row]:
    with SinkRig(folder / "few") as small, SinkRig(folder / "many") as large:
        few, many = Side(small, FEW), Side(large, devices)
        began = time.monotonic()
        for side in (few, many):
            pin(side.rig.processes["apns"], cores()[1])
            side.register()
            _say(f"{side.devices:,} devices after {time.monotonic() - began:.0f} s")
            pin(side.rig.processes["store"], cores()[1])
            side.start_worker()
            side.alerts(_ALERTS // 3)  # warm
        yield from _cost_rows([few, many], rounds)
        yield _crowd_row(many)
        many.rig.processes["worker"].stop()
        few.rig.processes["worker"].stop()
        if callbacks:
            yield from _backlog_rows(many, callbacks, jobs)
        used = many.store.call(lambda redis: redis.info("memory"))["used_memory"]
        _say(f"the store has {used / 1e6:,.0f} MB in use")


def _cost_rows(sides: Sequence[Side], rounds: int) -> Iterator[Row]:
    found: dict[int, list[list[float]]] = {side.devices: [] for side in sides}
    for turn in range(rounds):
        for side in sides if turn % 2 else sides[::-1]:
            found[side.devices].append(side.alerts(_ALERTS))
    few, many = found.values()
    for part, name in enumerate(("worker", "store")):
        yield _ratio(f"CPU of the {name} for an alert", [it[part] for it in few], [it[part] for it in many], sides)
    yield _ratio("CPU of both", [sum(it) for it in few], [sum(it) for it in many], sides, MOST_RATIO)


def _ratio(
    what: str, few: Sequence[float], many: Sequence[float], sides: Sequence[Side], most: float | None = None
) -> Row:
    us = [number(Spread.of(some).middle) for some in (few, many)]
    spread = Spread.of([more / less for less, more in zip(few, many, strict=True)])
    return Row(f"{what}, {sides[1].devices:,} devices / {FEW:,}", spread, f"{us[0]} us to {us[1]} us", most=most)


def _crowd_row(side: Side) -> Row:
    took = []
    for _ in range(3):
        side.rig.sink.begin(0)
        began = time.monotonic()
        pushes = side.accept(1, _CROWD)
        side.rig.wait(partial(_has, side, pushes), "all pushes", 120)
        took.append(time.monotonic() - began)
        side.rig.settled(OTHER)
    what = f"one callback for {_CROWD:,} members: s until the last push"
    return Row(what, Spread.of(took), f"{pushes:,} pushes, one worker")


def _has(side: Side, pushes: int) -> bool:
    return side.rig.sink.count() >= pushes


def _backlog_rows(side: Side, callbacks: int, jobs: int) -> Iterator[Row]:
    rig = side.rig
    with PushBench(rig, 0, 0) as bench, rig.redis() as redis:
        bench.pause()
        planner = side.start_worker()
        side.accept(jobs // _MEMBERS, _MEMBERS)
        rig.wait(lambda: not stored.length(redis, stored.callbacks(redis, OTHER)), "the plan", 120)
        planner.stop()
        side.accept(callbacks)
        lengths = [stored.length(redis, found) for found in (stored.callbacks(redis, OTHER), stored.jobs(redis, LANE))]
        what = f"with {lengths[0]:,} callbacks and {lengths[1]:,} jobs waiting"
        rig.sink.begin(_SLOW_MS)
        bench.resume()
        began = time.monotonic()
        bind = {"APP_PROXY_RELAY__OPERATOR_BIND": f"127.0.0.1:{free_port()}"}
        worker = rig.start("worker", [sys.executable, "-m", "proxy", "worker"], **bind)
        pin(worker, cores()[0])
        rig.wait(rig.sink.count, "the first push", 60)
        yield Row(f"worker, {what}: s from its start to its first push", Spread.of([time.monotonic() - began]),
                  most=MOST_READY_S)  # fmt: skip
        most = 0
        until = time.monotonic() + _HELD_S
        while time.monotonic() < until:
            most = max(most, rig.pending(OTHER)["pending"])
            time.sleep(0.2)
        yield Row(f"worker, {what}: MB of memory at most", Spread.of([_peak_mb(worker)]),
                  f"{most} jobs in flight, APNs {_SLOW_MS} ms", most=MOST_RSS_MB)  # fmt: skip
        worker.kill()


def _peak_mb(process: Process) -> float:
    """Source: proc(5), VmHWM, in kB."""
    found = re.search(r"VmHWM:\s*(\d+)", Path(f"/proc/{process.popen.pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def _device(number_: int, accounts: int) -> Device:
    token = f"{random.Random(number_).getrandbits(256):064x}"
    account, device_id = f"user-{number_ % accounts:07}", f"phone-{number_ // accounts}"
    return Device(LANE.app, account, device_id, Platform.APNS, token, datetime.now(UTC))


def _message(number_: int, readers: Sequence[int]) -> Callback:
    return Callback(
        kind=Kind.OFFLINE_MSG if len(readers) == 1 else Kind.OFFLINE_TOPIC_MSG,
        app_id=OTHER,
        from_account=f"friend-{number_}",
        topic_id=None if len(readers) == 1 else str(21351198708203520 + number_),
        recipients=tuple(Recipient(f"user-{it:07}") for it in readers),
        payload=compact_json({"version": 0, "msgType": "TEXT", "payload": "see you at seven at the gate"}).encode(),
        origin=CallbackOrigin(OTHER, (OTHER,), None, None),
        sent_at=datetime.now(UTC),
        sequence=str(154503794553568000 + number_),
    )


def _say(what: str) -> None:
    sys.stderr.write(f"{what}\n")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.growth", description="what much in the store costs")
    parser.add_argument("--devices", type=int, default=200_000)
    parser.add_argument("--callbacks", type=int, default=100_000, help="that wait at the end; 0: no such part")
    parser.add_argument("--jobs", type=int, default=50_000, help="that wait at the end")
    parser.add_argument("--rounds", type=int, default=5)
    order = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="bench-", dir="/tmp") as folder:
        rows = []
        for row in measure(Path(folder), order.devices, order.callbacks, order.jobs, order.rounds):
            rows.append(row)
            _say(f"{row.what}: {row.spread} ({row.beside})")
    sys.stdout.write(f"{machine()}\n\n{table(rows)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
