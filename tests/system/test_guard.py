"""What the service refuses, holds back or tells before it does harm."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from tests.system.rig import MAIN, OTHER, ROOT, Process, Rig, offline, offline_topic, push_token

QUIET = ("mimc", "mipush")
WEB = [sys.executable, "-m", "gunicorn", "-c", str(ROOT / "config/gunicorn.conf.py"), "wsgi:app"]
WORKER = [sys.executable, "-m", "proxy", "worker"]


def lines(process: Process, event: str) -> list[str]:
    return [line for line in process.log.read_text(errors="replace").splitlines() if event in line]


def reports(rig: Rig, event: str, times: int, *processes: Process) -> int:
    """How often the processes logged it, once they did so often enough: a thread writes the log, a little later."""

    def count() -> int:
        return sum(len(lines(process, event)) for process in processes)

    rig.wait(lambda: count() >= times, f"{event} in the log")
    return count()


def children_of(process: Process) -> set[int]:
    told = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    pairs = (line.split() for line in told.splitlines())
    return {int(pid) for pid, parent in pairs if int(parent) == process.popen.pid}


def answers(rig: Rig, path: str) -> bool:
    try:
        return rig.http.get(rig.operator + path, timeout=10).ok
    except requests.RequestException:
        return False


def figure(rig: Rig, name: str, **labels: str) -> float:
    text = rig.http.get(f"{rig.operator}/metrics", timeout=10).text
    samples = [it for family in text_string_to_metric_families(text) for it in family.samples]
    (found,) = [it.value for it in samples if it.name == name and labels.items() <= it.labels.items()]
    return found


def cli(rig: Rig, *arguments: str) -> list[dict[str, str]]:
    command = [sys.executable, "-m", "proxy", *arguments, "--config", str(rig.folder / "proxy.toml")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=30)
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("argv", [WEB, WORKER], ids=["web", "worker"])
def test_a_store_that_evicts_is_refused_with_one_message_and_what_mends_it(place: Path, argv: Sequence[str]) -> None:
    with Rig(place, without=(*QUIET, "apns")) as rig:
        with rig.redis() as redis:
            redis.config_set("maxmemory-policy", "volatile-lru")
        process = rig.start("refused", argv)
        assert process.popen.wait(20) == 2
        told = process.log.read_text()
        assert told.count("maxmemory-policy is volatile-lru") == 1
        assert "redis-cli CONFIG SET maxmemory-policy noeviction" in told
        assert "Traceback" not in told


def test_a_store_that_begins_to_evict_takes_the_web_out_of_rotation_and_ends_nothing(place: Path) -> None:
    with Rig(place, without=(*QUIET, "apns")) as rig:
        web = rig.start_web(workers=1)
        with rig.redis() as redis:
            redis.config_set("maxmemory-policy", "allkeys-lfu")
        ready = rig.http.get(f"{rig.operator}/readyz", timeout=10)
        assert ready.status_code == 503
        assert "maxmemory-policy is allkeys-lfu" in ready.json()["data"]["eviction"]
        (child,) = children_of(web)
        web.popen.send_signal(signal.SIGHUP)
        rig.wait(lambda: lines(web, "not reloaded"), "the refusal to reload")
        os.kill(child, signal.SIGKILL)
        rig.wait(lambda: children_of(web) - {child}, "a new child")
        rig.wait(lambda: answers(rig, "/healthz"), "its answer")


def test_a_worker_looks_at_a_store_that_was_away_before_it_claims_anything(place: Path) -> None:
    with Rig(place, without=(*QUIET, "apns")) as rig:
        with rig.redis() as redis:
            redis.config_set("maxmemory-policy", "allkeys-lru")
        rig.store.signal(signal.SIGSTOP)  # it neither answers nor refuses
        worker = rig.start_worker()
        rig.store.signal(signal.SIGCONT)
        assert worker.popen.wait(20) == 2
        assert "maxmemory-policy is allkeys-lru" in worker.log.read_text()
        with rig.redis() as redis:
            assert not redis.keys("proxy:*jobs*")


@pytest.mark.trial
def test_too_many_dead_devices_at_once_stay_and_those_before_them_come_back(place: Path) -> None:
    """As with the bundle id of another app: APNs calls every device dead."""
    people = [f"user-{number}" for number in range(40)]
    with Rig(place, without=QUIET) as rig:
        rig.start_web(workers=1)
        workers = rig.start_workers(2)
        for name in people:
            assert rig.register(name, "phone", push_token(), app_id=OTHER).status_code == 200
        rig.fault("apns", effect="answer", reason="Unregistered", code=time.time_ns() // 1_000_000 + 60_000)
        for sequence in (1, 2):
            body = offline_topic("bob", people, "hello", sequence, app_id=OTHER)
            assert rig.post(body, OTHER).status_code == 200
            rig.settled(OTHER)
        lane = {"app": "other", "channel": "apns"}
        assert (
            figure(rig, "app_proxy_devices_removed", **lane) == 19
        )  # a fifth of 40 is 8, but the twentieth is kept first
        assert figure(rig, "app_proxy_devices_kept_by_guard", **lane) == 21
        assert rig.dead_letters(OTHER) == ["unregistered, and kept: too many at once"] * 42
        assert reports(rig, "devices are not removed", 1, *workers) == 1
        assert "Check topic, environment and package" in rig.readiness()["devices of other/apns"]
        assert figure(rig, "app_proxy_devices_kept_by_guard", app="main", channel="apns") == 0

        rig.end_faults("apns")
        back = cli(rig, "devices", "restore", "--app", "other")
        assert [it["result"] for it in back] == ["restored"] * 19
        assert rig.post(offline_topic("bob", people, "again", 3, app_id=OTHER), OTHER).status_code == 200
        rig.settled(OTHER)
        assert len(rig.accepted()) == 40
        letters = cli(rig, "dead-letters", "replay", "--cause", "unregistered", "--rate", "1000", "--yes")
        assert [it["result"] for it in letters] == ["replayed"] * 42
        rig.settled(OTHER)
        assert len(rig.accepted()) == 40 + 42  # nothing of what the guard kept is lost
        assert len({(it["apns_id"], it["device_token"]) for it in rig.accepted()}) == 40 + 42


def test_after_the_store_came_back_empty_everything_goes_on_and_the_loss_is_told(place: Path) -> None:
    with Rig(place, without=QUIET) as rig:
        web = rig.start_web(workers=2)
        worker = rig.start_worker()
        phone = push_token()
        assert rig.register("alice", "phone", phone, app_id=OTHER).status_code == 200
        lost, known = (offline("bob", "alice", text, n, app_id=OTHER) for n, text in enumerate(("lost", "known")))
        assert rig.post(known, OTHER).status_code == 200
        rig.wait(lambda: rig.accepted(phone), "the alert before")
        assert "lost" not in rig.readiness()

        worker.signal(signal.SIGSTOP)  # so that something is lost
        assert rig.post(lost, OTHER).status_code == 200
        rig.store.kill()
        (rig.folder / "store").rename(rig.folder / "store of before")
        rig.store = rig.start_store()
        worker.signal(signal.SIGCONT)
        told = rig.wait(lambda: rig.readiness().get("lost"), "the loss in /readyz")
        assert "accepted work was lost, devices must register again" in told
        rig.wait(lambda: rig.http.get(f"{rig.operator}/readyz", timeout=10).status_code == 200, "groups, made anew")
        assert figure(rig, "app_proxy_store_lost_timestamp_seconds") == pytest.approx(time.time(), abs=60)

        assert rig.register("alice", "phone", phone, app_id=OTHER).status_code == 200
        assert rig.post(offline("bob", "alice", "after", 7, app_id=OTHER), OTHER).status_code == 200
        rig.wait(lambda: "after" in shown_on(rig, phone), "the alert after")
        rig.settled(OTHER)
        # nothing of before was shown again; what the worker had in hand when the store died may be shown after all
        assert set(shown_on(rig, phone)) - {"lost"} == {"known", "after"}
        assert len(rig.journal("apns")) == len(set(shown_on(rig, phone)))
        assert reports(rig, "came back empty", 1, web, worker) == 1

        first = figure(rig, "app_proxy_store_lost_timestamp_seconds")
        with rig.redis() as redis:
            redis.flushall()  # is the same, with all connections alive
        rig.wait(lambda: figure(rig, "app_proxy_store_lost_timestamp_seconds") > first, "the second loss")
        assert rig.register("alice", "phone", phone, app_id=OTHER).status_code == 200
        assert rig.post(offline("bob", "alice", "once more", 8, app_id=OTHER), OTHER).status_code == 200
        rig.wait(lambda: "once more" in shown_on(rig, phone), "the alert after that")
        assert reports(rig, "came back empty", 2, web, worker) == 2
        assert not re.search(r"Traceback|exc_type", rig.everything_printed())


def shown_on(rig: Rig, phone: str) -> list[str]:
    """The texts of the alerts that APNs accepted for this push token."""
    return [push["payload"]["aps"]["alert"]["body"] for push in rig.accepted(phone)]


def test_clocks_that_differ_are_told_by_web_and_worker_and_stop_nothing(place: Path) -> None:
    """APNs' clock is so far ahead that a provider token just signed is too old for it; MIMC's is two minutes behind."""
    ahead_s, behind_s = 4000, 120
    offsets = {"apns": {"clock_offset_s": ahead_s}, "mimc": {"clock_offset_s": -behind_s}}
    with Rig(place, apns=offsets["apns"], mimc=offsets["mimc"], without=("mipush",)) as rig:
        web = rig.start_web(workers=1)
        worker = rig.start_worker()
        assert not [it for it in rig.readiness() if it.startswith("clock")]
        assert rig.register("alice", "phone", push_token(), app_id=OTHER).status_code == 200
        assert rig.post(offline("bob", "alice", "hello", 1, app_id=OTHER), OTHER).status_code == 200
        bearer = {"Authorization": f"Bearer {rig.bearer('alice')}"}
        url, body = f"{rig.web}/api/account/token", {"appId": MAIN}
        assert rig.http.post(url, json=body, headers=bearer, timeout=10).json()["code"] == 200

        def told(source: str) -> str:
            return rig.wait(
                lambda: next((it for name, it in rig.readiness().items() if name.endswith(source)), ""), source
            )

        assert re.match(r"1[12][0-9] s ahead of theirs", told("by mimc"))
        assert re.match(r"(39|40)[0-9][0-9] s behind theirs", told("by apns"))
        assert re.match("3600 s behind theirs", told("by apns provider token"))
        assert rig.http.get(f"{rig.operator}/readyz", timeout=10).status_code == 200
        assert figure(rig, "app_proxy_clock_skew_seconds", source="mimc") == pytest.approx(behind_s, abs=10)
        assert rig.metric(worker, "app_proxy_clock_skew_seconds", source="apns") == pytest.approx(-ahead_s, abs=10)
        assert reports(rig, "the clocks differ", 1, web) == 1
        assert reports(rig, "the clocks differ", 2, worker) == 2  # by the answers' Date, and by the token
