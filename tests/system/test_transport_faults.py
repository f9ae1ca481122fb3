"""The connection to APNs starts gently, breaks and falls silent, seen through the whole worker."""

import signal
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.system.rig import OTHER, Process, Rig, offline, push_token

MESSAGES, DEVICES = 10, 20
ORDINARY_TIMES = {"lease_s": 15.0, "heartbeat_s": 4.0, "push_timeout_s": 10.0, "silence_min_s": 2.0, "drain_s": 10.0}


def register(rig: Rig, count: int) -> None:
    for number in range(count):
        assert rig.register("alice", f"device-{number}", push_token(), app_id=OTHER).status_code == 200


def strike(rig: Rig, effect: str) -> None:
    rig.http.post(f"{rig.control('apns')}/connections", json={"effect": effect}, timeout=5).raise_for_status()


def push_200(rig: Rig, worker: Process, event: Callable[[], None]) -> None:
    """Have 200 pushes wait while something happens to the connection, and see them accepted."""
    before = len(rig.journal("apns"))
    worker.signal(signal.SIGSTOP)
    event()
    for number in range(before, before + MESSAGES):
        assert rig.post(offline("bob", "alice", f"message {number}", number, app_id=OTHER), OTHER).status_code == 200
    worker.signal(signal.SIGCONT)
    rig.wait(lambda: len(rig.journal("apns", after=before)) >= MESSAGES * DEVICES, "200 pushes")


@pytest.mark.trial
def test_200_waiting_pushes_arrive_however_the_connection_begins_anew(place: Path) -> None:
    """The emulator takes one stream on a new connection, refuses the others, and says so late."""
    apns = {"delay_ms": 5, "settings_delay_ms": 20}
    with Rig(place, relay=ORDINARY_TIMES, apns=apns, without=("mimc", "mipush")) as rig:
        rig.start_web(workers=1)
        worker = rig.start_worker()
        register(rig, DEVICES)
        connections = 0
        events: dict[str, Callable[[], None]] = {
            "first connection": lambda: None,
            "GOAWAY": lambda: strike(rig, "goaway"),
            "reset": lambda: strike(rig, "reset"),
            "end without a word": lambda: strike(rig, "close"),
            "limit of 1": lambda: rig.fault("apns", effect="limit", code=1),
        }
        for name, event in events.items():
            push_200(rig, worker, event)
            opened = rig.counters("apns")["connections"] - connections
            assert opened <= 2, name
            connections += opened
        rig.settled(OTHER)
        assert set(Counter(it["apns_id"] for it in rig.accepted()).values()) == {1}
        counters = rig.counters("apns")
        assert counters["most_streams_before_first_good_answer"] == 1
        assert counters["streams_over_acknowledged_limit"] == 0
        assert (
            rig.metric(worker, "app_proxy_jobs_settled_total", outcome="accepted") == len(events) * MESSAGES * DEVICES
        )
        assert rig.metric(worker, "app_proxy_jobs_settled_total", outcome="retry") == 0


@pytest.mark.trial
def test_a_connection_that_falls_silent_for_ever_is_left_and_nothing_is_lost(place: Path) -> None:
    with Rig(place, without=("mimc", "mipush")) as rig:
        rig.start_web(workers=1)
        rig.start_worker()
        register(rig, 1)
        stop = threading.Event()
        posted: list[int] = []

        def keep_posting() -> None:
            while not stop.wait(0.02):
                number = len(posted)
                answer = rig.post(offline("bob", "alice", f"message {number}", number, app_id=OTHER), OTHER)
                assert answer.status_code == 200
                posted.append(number)

        poster = threading.Thread(target=keep_posting)
        poster.start()
        try:
            rig.wait(lambda: len(rig.accepted()) > 10, "the stream of pushes")
            strike(rig, "silent_connection")
            silent_since = rig.journal("apns")[-1]["monotonic_ms"]
            first = rig.wait(lambda: [it for it in rig.accepted() if it["connection"] > 1], "pushes that flow again")[0]
            assert first["monotonic_ms"] - silent_since < 1400
            rig.wait(lambda: len(rig.accepted()) > first["number"] + 20, "the stream of pushes")
        finally:
            stop.set()
            poster.join()
        rig.settled(OTHER)
        texts = {it["payload"]["aps"]["alert"]["body"] for it in rig.accepted() if it["answered"]}
        assert texts == {f"message {number}" for number in posted}
        assert rig.dead_letters(OTHER) == []
