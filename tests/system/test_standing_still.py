"""Progress goes on where machine or provider is slow, and whose fault it is, is who waits.

Each test is a fault with which an earlier program stood still. None asserts how quick something is: what is counted is
work (requests, look-ups, attempts), and what must arrive arrives however slow the machine is.
"""

import json
import signal
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trustme

from proxy.domain.alerts import Alert, AlertText, Order
from proxy.domain.jobs import Job
from proxy.domain.lanes import Lane, PauseKind
from proxy.store.queue.lane_states import RedisLaneStates
from proxy.store.server.embedded import store_url
from tests import stored
from tests.bench.shares import share_of_a_core
from tests.store.samples import put_jobs, with_redis
from tests.system.rig import APP_SECRET, KEY_ID, MAIN, OTHER, TEAM, TOPIC, Process, Rig, offline, offline_topic
from tests.system.rig import push_token as fresh_token

APNS_ONLY, MIPUSH_ONLY = ("mimc", "mipush"), ("mimc", "apns")
ORDINARY_TIMES = {"lease_s": 15.0, "heartbeat_s": 4.0, "push_timeout_s": 10.0, "silence_min_s": 2.0, "drain_s": 10.0}
SLOW_ANSWERS_TIMES = {"lease_s": 8.0, "heartbeat_s": 1.0, "push_timeout_s": 6.0, "silence_min_s": 0.5, "drain_s": 6.0}
LANE = Lane(OTHER, "other", "apns")
BREAKER = 10


def phone(rig: Rig, account: str, app_id: str = OTHER, **more: str) -> str:
    token = fresh_token()

    def is_registered() -> bool:
        """503 where the store had no time for it: an app asks again."""
        status = rig.register(account, f"phone {token[:32]}", token, app_id=app_id, **more).status_code
        assert status in (200, 503)
        return status == 200

    rig.wait(is_registered, "the registration")
    return token


def post(rig: Rig, reader: str, numbers: Iterable[int], app_id: str = OTHER) -> None:
    for number in numbers:
        body = offline("bob", reader, f"message {number}", number, app_id=app_id)
        assert rig.post(body, app_id).status_code == 200


def logged(worker: Process, event: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in worker.log.read_text().splitlines() if f'"{event}"' in line]


def job_of(account: str, device_id: str, number: int, *, expires_in_s: float) -> Job:
    """As if its message had been planned."""
    now = datetime.now(UTC)
    order = Order(number, 0, int(now.timestamp() * 1000))
    alert = Alert(f"m{number}", "p2p:bob", AlertText("bob", "hello"), order, now + timedelta(seconds=expires_in_s))
    return Job("other", "apns", account, device_id, alert)


def results(worker: Process) -> Counter[str]:
    return Counter(entry["result"] for entry in logged(worker, "push settled"))


def all_results(worker: Process) -> Counter[str]:
    """Once it has ended: until then its last lines may be on their way."""
    assert worker.stop() == 0
    return results(worker)


def change_settings(rig: Rig, *changes: tuple[str, str]) -> None:
    """Replace these texts of the settings, before web and worker start."""
    file = rig.folder / "proxy.toml"
    text = file.read_text()
    for before, after in changes:
        assert before in text
        text = text.replace(before, after, 1)
    file.write_text(text)


def add_section(rig: Rig, name: str, apns: Sequence[str]) -> None:
    """One more section of the app `other`: the same team, key and topic, and these lines about its APNs."""
    lines = [
        f"[apps.{name}]", f'app_id = "{OTHER}"', 'app_key = "key-of-other"', f'app_secret = "{APP_SECRET[OTHER]}"',
        f'url_secret = "{rig.secret("url_secret", f"url-secret-of-{name}-0123456789abcdef")}"',
        f"[apps.{name}.apns]", f'team_id = "{TEAM[OTHER]}"', f'key_id = "{KEY_ID[OTHER]}"',
        f'key_file = "{rig.folder / "other"}.p8"', f'topic = "{TOPIC[OTHER]}"', *apns,
    ]  # fmt: skip
    file = rig.folder / "proxy.toml"
    file.write_text("\n".join([file.read_text(), *lines, ""]))


# a slow machine


@pytest.mark.trial
def test_a_worker_with_a_tenth_of_a_core_looks_each_job_up_once_and_goes_on_pushing(place: Path) -> None:
    def looked_up(rig: Rig) -> int:
        """One HGET is one registration read on the way of a push."""
        with rig.redis() as redis:
            return int(redis.info("commandstats").get("cmdstat_hget", {}).get("calls", 0))

    def jobs(token: str) -> list[Job]:
        return [job_of("ann", f"phone {token[:32]}", number, expires_in_s=3600) for number in range(1, 501)]

    with Rig(place, relay=ORDINARY_TIMES, without=APNS_ONLY) as rig:
        rig.start_web(workers=1)
        token = phone(rig, "ann")
        worker = rig.start_worker()
        post(rig, "ann", [1000])
        rig.settled(OTHER)
        before = looked_up(rig)
        worker.signal(signal.SIGSTOP)
        with_redis(store_url(rig.folder / "store"), lambda redis: put_jobs(redis, LANE, jobs(token)))
        with share_of_a_core(worker.popen, 0.1):
            worker.signal(signal.SIGCONT)
            rig.settled(OTHER, 120)
        assert all_results(worker) == {"accepted": 501}
        assert looked_up(rig) - before <= 1.2 * 500


# a slow provider


@pytest.mark.trial
def test_an_apns_that_answers_late_on_a_new_connection_is_slow_and_not_dead(place: Path) -> None:
    with Rig(place, relay=SLOW_ANSWERS_TIMES, apns={"delay_ms": 1500}, without=APNS_ONLY) as rig:
        rig.start_web(workers=1)
        phone(rig, "ann")
        worker = rig.start_worker()
        post(rig, "ann", range(30))
        rig.settled(OTHER)
        assert all_results(worker) == {"accepted": 30}
        # a new one every silence_min_s, until the first answer says how long this provider takes
        assert rig.counters("apns")["connections"] <= 1500 / 500 + 2
        assert len(rig.journal("apns")) == 30
        assert logged(worker, "lane paused") == []


@pytest.mark.trial
def test_of_50_accounts_in_one_slow_request_the_unknown_one_alone_gets_nothing(place: Path) -> None:
    readers = [f"reader-{number}" for number in range(50)]
    with Rig(place, relay=SLOW_ANSWERS_TIMES, without=MIPUSH_ONLY) as rig:
        rig.start_web(workers=1, APP_PROXY_STORE__SHARDS="1")  # or shards that are read apart make several
        known = [reader for reader in readers if reader != "reader-17"]
        of_all = {"phone": "one for all", "package": TOPIC[MAIN], "accounts": known}
        rig.http.post(f"{rig.control('mipush')}/devices", json=of_all, timeout=5).raise_for_status()
        rig.fault("mipush", effect="delay", delay_ms=400)
        worker = rig.start_worker()
        assert rig.post(offline_topic("bob", readers, "hello", 1)).status_code == 200
        rig.settled(MAIN)
        assert all_results(worker) == {"accepted": 49, "unknown account": 1}
        served = [
            name for entry in rig.journal("mipush") if entry["outcome"] == "accepted" for name in entry["targets"]
        ]
        assert sorted(served) == sorted(known)
        assert len(rig.journal("mipush")) <= 2 * 6 + 1  # 2^6 > 50
        assert rig.dead_letters(MAIN) == []


def test_of_50_accounts_in_one_request_the_refused_one_alone_is_buried(place: Path) -> None:
    readers = [f"reader-{number}" for number in range(50)]
    with Rig(place, relay=SLOW_ANSWERS_TIMES, mipush={"unknown_targets": "accept"}, without=MIPUSH_ONLY) as rig:
        rig.start_web(workers=1, APP_PROXY_STORE__SHARDS="1")  # or shards that are read apart make several
        rig.fault("mipush", effect="code", code=65017, target="reader-33")
        rig.fault("mipush", effect="delay", delay_ms=400)  # those without the culprit
        worker = rig.start_worker()
        assert rig.post(offline_topic("bob", readers, "hello", 1)).status_code == 200
        rig.settled(MAIN)
        assert all_results(worker) == {"accepted": 49, "dead letter": 1}
        assert rig.dead_letters(MAIN) == ["code 65017 account too long"]
        assert len(rig.journal("mipush")) <= 2 * 6 + 1


# a provider out of reach


@pytest.mark.parametrize(
    "effect", ["closed", *(pytest.param(it, marks=pytest.mark.trial) for it in ("untrusted", "reset"))]
)
def test_a_provider_out_of_reach_is_told_at_once_pauses_its_lane_and_gets_everything_when_it_is_back(
    place: Path, effect: str
) -> None:
    with Rig(place, relay=SLOW_ANSWERS_TIMES, without=APNS_ONLY) as rig:
        rig.start_web(workers=1)
        phone(rig, "ann")
        rig.fault("apns", effect=effect)
        worker = rig.start_worker()
        post(rig, "ann", range(30))
        told = rig.wait(lambda: rig.readiness().get("lane other/apns"), "the paused lane in /readyz")
        assert told.startswith("paused by the breaker since ")
        rig.wait(lambda: logged(worker, "push failed, repeated at once"), "the first failure in the log")
        (paused,) = rig.wait(lambda: logged(worker, "lane paused"), "the pause in the log")
        assert paused["kind"] == "breaker"
        assert told.endswith(paused["reason"])
        rig.end_faults("apns")
        rig.settled(OTHER)
        found = all_results(worker)
        assert found["accepted"] == 30
        assert BREAKER - 1 <= found["retry"] <= 2 * BREAKER  # each counted, and no more once it was plain
        assert len({entry["apns_id"] for entry in rig.accepted() if entry["answered"]}) == 30
        assert rig.dead_letters(OTHER) == []
        rig.wait(lambda: "lane other/apns" not in rig.readiness(), "the end of the pause in /readyz")


@pytest.mark.trial
def test_one_alert_whose_connection_is_always_reset_is_tried_twice_for_each_counted_attempt(place: Path) -> None:
    with Rig(place, without=APNS_ONLY) as rig:
        rig.start_web(workers=1)
        phone(rig, "ann")
        rig.fault("apns", effect="reset")
        worker = rig.start_worker()
        post(rig, "ann", [0])
        rig.wait(lambda: results(worker)["retry"] >= 3, "the third failure")
        tried = len(rig.journal("apns"))
        # a thread writes the log, a little later
        rig.wait(lambda: tried <= 2 * (len(logged(worker, "push settled")) + 1), "each counted attempt in the log")
        attempts = [entry["attempt"] for entry in logged(worker, "push settled")]
        assert attempts == list(range(len(attempts)))
        assert logged(worker, "lane paused") == []  # one job pauses no others
        rig.end_faults("apns")
        rig.settled(OTHER)
        assert all_results(worker)["accepted"] == 1


@pytest.mark.trial
def test_a_paused_lane_is_not_kept_so_by_a_thousand_expired_alerts_in_front(place: Path) -> None:
    now = datetime.now(UTC)

    async def paused_with_a_thousand_expired(redis: Any) -> None:
        expired = [job_of("ann", "no phone", number, expires_in_s=-1) for number in range(1, 1001)]
        await put_jobs(redis, LANE, expired)
        await RedisLaneStates(redis).pause(LANE, "http 503", now, now + timedelta(seconds=1), PauseKind.BREAKER)

    with Rig(place, without=APNS_ONLY) as rig:
        rig.start_web(workers=1)
        token = phone(rig, "ann")
        with_redis(store_url(rig.folder / "store"), paused_with_a_thousand_expired)
        worker = rig.start_worker()
        post(rig, "ann", [0])
        rig.settled(OTHER)
        assert all_results(worker) == {"dead letter": 1000, "accepted": 1}
        assert [entry["device_token"] for entry in rig.accepted()] == [token]
        assert len(logged(worker, "lane resumed")) == 1


# whose fault it is, is who waits


def test_a_section_whose_lane_is_full_holds_up_no_other_section_and_no_end_of_the_worker(place: Path) -> None:
    with Rig(place, relay={"drain_s": 30.0}, without=APNS_ONLY) as rig:
        change_settings(rig, ("[store]\n", "[store]\njobs_cap = 20\nshards = 1\n"))
        nowhere = f'"https://127.0.0.1:{rig.facts["mipush"]["port"]}"'  # a port that is closed
        add_section(rig, "second", [f"production_url = {nowhere}", f"sandbox_url = {nowhere}"])
        rig.start_web(workers=1)
        token = phone(rig, "ann")
        phone(rig, "eve", app="second")
        worker = rig.start_worker()
        for number in range(60):
            body = offline_topic("bob", ["ann", "eve"], f"message {number}", number, app_id=OTHER)
            assert rig.post(body, OTHER).status_code == 200
        rig.wait(lambda: len(rig.accepted(token)) == 60, "the first section's pushes")
        assert worker.stop() == 0
        assert logged(worker, "worker stopped")
        assert logged(worker, "worker leaves work to others") == []
        second = Lane(OTHER, "second", "apns")
        with rig.redis() as redis:
            assert _waiting(redis, second) < 60
            assert stored.scored(redis, stored.waiting(redis, OTHER)) > 0  # none is lost


@pytest.mark.trial
def test_a_sandbox_whose_key_is_refused_pauses_its_own_lane_and_can_be_switched_off(place: Path) -> None:
    with Rig(place, sandbox={}, without=APNS_ONLY) as rig:
        rig.start_web(workers=1)
        token = phone(rig, "ann")
        phone(rig, "sam", environment="sandbox")
        rig.fault("sandbox", effect="answer", reason="BadEnvironmentKeyIdInToken")
        worker = rig.start_worker()
        post(rig, "sam", range(5))
        told = rig.wait(lambda: rig.readiness().get("lane other/apns-sandbox"), "the paused lane in /readyz")
        assert "BadEnvironmentKeyIdInToken" in told
        post(rig, "ann", range(100, 130))
        rig.wait(lambda: len(rig.accepted(token)) == 30, "the pushes to production")
        assert "lane other/apns" not in rig.readiness()
        worker.stop()
        without = rig.start_worker(APP_PROXY_APPS__OTHER__APNS__SANDBOX="false")
        rig.settled(OTHER)
        assert all_results(without) == {"sandbox is off": 5}
        assert rig.dead_letters(OTHER) == []


def test_two_sections_of_one_team_trust_each_what_they_say(place: Path) -> None:
    with Rig(place, without=APNS_ONLY) as rig:
        stranger = rig.folder / "stranger.pem"
        trustme.CA().cert_pem.write_to_path(stranger)
        apns = f'"https://127.0.0.1:{rig.facts["apns"]["port"]}"'
        add_section(rig, "second", [f"production_url = {apns}", f"sandbox_url = {apns}", f'ca_file = "{stranger}"'])
        rig.start_web(workers=1)
        trusted = phone(rig, "ann")
        distrusted = phone(rig, "eve", app="second")
        rig.start_worker()
        post(rig, "ann", [0])
        rig.wait(lambda: rig.accepted(trusted), "the push that opens the connection")
        post(rig, "eve", range(100, 120))
        post(rig, "ann", range(200, 220))
        rig.wait(lambda: len(rig.accepted(trusted)) == 21, "the pushes of the section that trusts it")
        told = rig.wait(lambda: rig.readiness().get("lane second/apns"), "the paused lane in /readyz")
        assert "certificate" in told
        assert rig.accepted(distrusted) == []


@pytest.mark.trial
def test_an_alert_that_ends_each_of_its_workers_is_buried_alone(place: Path) -> None:
    """No answer comes to it; the test kills the worker that sent it, before anything else of its claim has left."""
    with Rig(place, apns={"delay_ms": 50}, without=APNS_ONLY) as rig:
        rig.start_web(workers=1)
        culprit = phone(rig, "eve")
        tokens = [phone(rig, f"user-{number}") for number in range(20)]
        rig.fault("apns", effect="silence", target=culprit)
        post(rig, "eve", [0])
        for number in range(20):
            post(rig, f"user-{number}", [100 + number])
        deaths = 0
        while rig.backlog(OTHER) and deaths < 7:
            seen = len(tries_of(rig, culprit))
            worker = rig.start_worker()
            rig.wait(partial(was_tried_again, rig, culprit, seen), "the next try, or the end of all work", 60)
            worker.kill()
            deaths += rig.backlog(OTHER) > 0
        assert deaths == 6
        assert {entry["device_token"] for entry in rig.accepted() if entry["answered"]} == set(tokens)
        assert rig.dead_letters(OTHER) == ["poison"]


def was_tried_again(rig: Rig, token: str, seen: int) -> bool:
    return len(tries_of(rig, token)) > seen or not rig.backlog(OTHER)


def tries_of(rig: Rig, token: str) -> list[dict[str, Any]]:
    return [entry for entry in rig.journal("apns") if entry["device_token"] == token]


def _waiting(redis: Any, lane: Lane) -> int:
    return stored.length(redis, stored.jobs(redis, lane)) + stored.scored(redis, stored.retries(redis, lane))
