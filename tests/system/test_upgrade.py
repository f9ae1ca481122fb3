"""Two versions of the program on one store: an upgrade and its way back, while callbacks flow and workers die.

The earlier version is the commit that `tests/system/previous` names.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import requests

from proxy.domain.lanes import Lane
from proxy.store import keys
from proxy.store.server.embedded import ensure_store, stop_store
from tests import stored
from tests.store import golden
from tests.system.earlier import lay_out, named_commit
from tests.system.rig import OTHER, ROOT, Process, Rig, offline, push_token

# few at a time and each for a while, so that two workers share what there is, and a killed one holds some
IN_FLIGHT, DELAY_MS = 8, 150
DEVICES = 4
PAUSE_S = 0.1  # between two messages: one worker can keep up


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the earlier program."""
    return lay_out(named_commit(), ROOT, tmp_path_factory.mktemp("earlier"))


@pytest.fixture
def rig(place: Path) -> Iterator[Rig]:
    """Leases are short: a worker dies."""
    with Rig(place, relay={"in_flight": IN_FLIGHT}, apns={"delay_ms": DELAY_MS}, without=("mimc", "mipush")) as it:
        with it.redis() as redis:  # a store that an earlier program has met keeps its layout
            redis.hset(keys.identity(), mapping={"id": "0123456789abcdef", "made_at": 1})
        yield it


@pytest.fixture
def patient_rig(place: Path) -> Iterator[Rig]:
    """Nothing is sent again because this machine is slow."""
    times = {"lease_s": 30.0, "heartbeat_s": 4.0, "push_timeout_s": 20.0, "silence_min_s": 15.0, "drain_s": 20.0}
    relay = {"in_flight": IN_FLIGHT, **times}
    with Rig(place, relay=relay, apns={"delay_ms": DELAY_MS}, without=("mimc", "mipush")) as it:
        with it.redis() as redis:  # a store that an earlier program has met keeps its layout
            redis.hset(keys.identity(), mapping={"id": "0123456789abcdef", "made_at": 1})
        yield it


class Sender:
    """MIMC, with one message for alice after another until `stop`: each is posted until it is answered 200."""

    def __init__(self, rig: Rig) -> None:
        self.answered = 0
        self._rig = rig
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Sender":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def more(self, messages: int) -> None:
        """Wait until so many more have been answered."""
        goal = self.answered + messages
        self._rig.wait(lambda: self.answered >= goal, "callbacks answered 200")

    def _run(self) -> None:
        for number in count():
            body = message(number)
            while not self._is_taken(body):
                self._stopped.wait(0.05)
            self.answered += 1
            if self._stopped.wait(PAUSE_S):
                return

    def _is_taken(self, body: dict[str, Any]) -> bool:
        try:
            return self._rig.post(body, OTHER).status_code == 200
        except requests.RequestException:
            return False


def message(number: int) -> dict[str, Any]:
    return offline("bob", "alice", f"message {number}", number, app_id=OTHER)


def devices_of_alice(rig: Rig, numbers: range = range(DEVICES)) -> None:
    for number in numbers:
        assert rig.register("alice", f"device-{number}", push_token(), app_id=OTHER).status_code == 200


def pushes(rig: Rig) -> Counter[tuple[str, str]]:
    """How often each message was accepted for each device; a message has one collapse id, from both programs."""
    return Counter((it["collapse_id"], it["device_token"]) for it in rig.accepted())


def apns_ids(rig: Rig) -> set[tuple[str, str, str]]:
    return {(it["collapse_id"], it["device_token"], it["apns_id"]) for it in rig.accepted()}


def settled_by(rig: Rig, worker: Process) -> float:
    return rig.metric(worker, "app_proxy_jobs_settled_total", outcome="accepted")


@pytest.mark.trial
def test_what_runs_from_the_other_folder_is_the_program_that_lies_there(rig: Rig, tmp_path: Path) -> None:
    """A fresh copy has no bytecode; what imports it leaves some."""
    copy = lay_out(named_commit(), ROOT, tmp_path / "copy")
    where = [sys.executable, "-c", "import proxy.worker; print(proxy.worker.__file__)"]
    process = rig.start("where", where, cwd=copy, PYTHONDONTWRITEBYTECODE="1")
    assert process.popen.wait(20) == 0
    assert process.log.read_text().strip() == str(copy / "proxy/worker/__init__.py")
    rig.start_web(workers=1, program=copy, PYTHONDONTWRITEBYTECODE="")
    assert [*copy.glob("proxy/web/__pycache__/callbacks.*.pyc")]
    assert not [*copy.glob("proxy/worker/__pycache__/*")]
    rig.start_worker(program=copy, PYTHONDONTWRITEBYTECODE="")
    assert [*copy.glob("proxy/worker/__pycache__/*.pyc")]


@pytest.mark.trial
@pytest.mark.parametrize("new_writes", [True, False], ids=["new-writes", "earlier-writes"])
def test_either_version_reads_what_the_other_wrote(earlier: Path, place: Path, new_writes: bool) -> None:
    """Each with its own tests/store/golden.py."""
    writer, reader = (ROOT, earlier) if new_writes else (earlier, ROOT)
    run_golden(writer, "lay", str(place / "laid"))
    url = ensure_store(place / "store")
    try:
        golden.restore(url, golden.laid(place / "laid"))
        assert json.loads(run_golden(reader, "read", url)) == json.loads(
            (ROOT / "tests/data/records/1.json").read_text()
        )
    finally:
        stop_store(place / "store")


def run_golden(program: Path, *order: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(program)}
    command = [sys.executable, str(program / "tests/store/golden.py"), *order]
    return subprocess.run(command, env=environment, cwd=program, capture_output=True, text=True, check=True).stdout


@pytest.mark.trial
@pytest.mark.parametrize("new_dies", [True, False], ids=["new-dies", "earlier-dies"])
def test_workers_of_both_versions_share_the_work_and_what_a_killed_one_held_goes_to_the_other(
    rig: Rig, earlier: Path, new_dies: bool
) -> None:
    """The web is of the version that stays."""
    dies, stays = (ROOT, earlier) if new_dies else (earlier, ROOT)
    rig.start_web(workers=1, program=stays)
    devices_of_alice(rig)
    victim, other = rig.start_worker(program=dies), rig.start_worker(program=stays)
    with Sender(rig) as sender:
        rig.wait(partial(settled_by, rig, other), "a push of the one that stays")
        rig.wait(partial(settled_by, rig, victim), "a push of the one that dies")
        rig.wait(partial(is_stopped_with_some, rig, victim), "something in the hands of the one that dies")
        victim.kill()
        rig.wait(partial(rig.metric, other, "app_proxy_leases_taken_over_total"), "the take-over")
        again = rig.start_worker(program=dies)
        rig.wait(partial(settled_by, rig, again), "a push of the one that came back")
        sender.stop()
        rig.settled(OTHER)
        assert_each_message_reached_each_device(rig, sender.answered)
        assert rig.dead_letters(OTHER) == []


def is_stopped_with_some(rig: Rig, worker: Process) -> bool:
    """It sleeps and holds something for good; with empty hands it goes on."""
    worker.signal(signal.SIGSTOP)
    looks = [rig.holders(OTHER).get(worker.popen.pid, 0) for _ in range(2)]
    if looks[1]:  # what it asked of the store before it slept was done between the two
        return True
    worker.signal(signal.SIGCONT)
    return False


def assert_each_message_reached_each_device(rig: Rig, messages: int, devices: int = DEVICES) -> None:
    """Whatever was sent again had the same identity, so it replaced the first."""
    found = pushes(rig)
    assert len(found) == messages * devices
    assert len({message for message, _ in found}) == messages
    assert len(apns_ids(rig)) == len(found)


@pytest.mark.trial
def test_an_earlier_worker_sends_to_the_address_in_use_of_a_device_with_fallbacks(rig: Rig, earlier: Path) -> None:
    """Before an address has gone, and after; a dead one takes the device along, for it knows no other."""
    rig.start_web(workers=1)
    first, second = push_token(), push_token()
    fallbacks = [{"platform": "apns", "push_token": second}]
    assert rig.register("alice", "phone", first, app_id=OTHER, fallbacks=fallbacks).status_code == 200
    worker = rig.start_worker(program=earlier)
    assert rig.post(message(1), OTHER).status_code == 200
    rig.settled(OTHER)
    assert worker.stop() == 0
    worker = rig.start_worker()
    rig.fault("apns", effect="answer", reason="Unregistered", code=time.time_ns() // 1_000_000 + 60_000, target=first)
    assert rig.post(message(2), OTHER).status_code == 200
    rig.settled(OTHER)
    assert worker.stop() == 0
    rig.start_worker(program=earlier)
    assert rig.post(message(3), OTHER).status_code == 200
    rig.settled(OTHER)
    assert [it["device_token"] for it in rig.accepted()] == [first, second, second]
    assert rig.dead_letters(OTHER) == []


@pytest.mark.trial
@pytest.mark.parametrize("new_first", [True, False], ids=["new-postpones", "earlier-postpones"])
def test_jobs_that_one_version_postponed_are_taken_by_the_other(
    patient_rig: Rig, earlier: Path, new_first: bool
) -> None:
    rig = patient_rig
    first, second = (ROOT, earlier) if new_first else (earlier, ROOT)
    rig.start_web(workers=1, program=second)
    devices_of_alice(rig)
    worker = rig.start_worker(program=first)
    rig.fault("apns", effect="answer", status=500, reason="InternalServerError")
    assert rig.post(message(1), OTHER).status_code == 200
    rig.wait(partial(all_postponed_twice, rig), "every job's second attempt")
    assert worker.stop() == 0
    rig.end_faults("apns")
    rig.start_worker(program=second)
    rig.settled(OTHER)
    assert set(pushes(rig).values()) == {1}
    assert_each_message_reached_each_device(rig, 1)


def all_postponed_twice(rig: Rig) -> bool:
    with rig.redis() as redis:
        (name,) = stored.retries(redis, Lane(OTHER, "other", "apns"))
        waiting = redis.zrange(name, 0, -1)
    return len(waiting) == DEVICES and all(json.loads(it)["attempt"] >= 2 for it in waiting)


@pytest.mark.trial
def test_a_rolling_upgrade_and_the_way_back_lose_nothing_and_send_nothing_twice(
    patient_rig: Rig, earlier: Path
) -> None:
    """Each process is asked to end (SIGTERM) when its successor is there; the web's answers stop for that moment."""
    rig = patient_rig
    web, worker = rig.start_web(workers=1, program=earlier), rig.start_worker(program=earlier)
    devices_of_alice(rig, range(DEVICES))
    with Sender(rig) as sender:
        for program in (ROOT, earlier):
            sender.more(3)
            successor = rig.start_worker(program=program)
            sender.more(3)
            assert worker.stop() == 0
            worker = successor
            sender.more(3)
            assert web.stop() == 0
            web = rig.start_web(workers=1, program=program)
            rig.wait(partial(settled_by, rig, worker), "the successor's share")
        sender.more(3)
        sender.stop()
        repeated = message(0)
        assert rig.post(repeated, OTHER).json()["data"] == {"duplicate": True}
        rig.settled(OTHER)
        assert set(pushes(rig).values()) == {1}
        assert_each_message_reached_each_device(rig, sender.answered)
        assert rig.dead_letters(OTHER) == []
