"""Callbacks through real processes: what was answered 200 arrives, once, whatever is killed meanwhile."""

import os
import signal
import statistics
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests import stored
from tests.system.callers import Caller, Response, Seen, alerts, post_all, register_all
from tests.system.rig import OTHER, Rig, offline, offline_topic

# where no process dies that holds pushes, a push that takes long on a busy machine must not be repeated
PATIENT = {"lease_s": 15.0, "heartbeat_s": 4.0, "push_timeout_s": 10.0, "silence_min_s": 8.0, "drain_s": 10.0}
READERS = [f"reader-{number}" for number in range(50)]
MESSAGES = [offline(f"sender-{n}", READERS[n % 50], f"message {n}", n, app_id=OTHER) for n in range(1_200)]


@pytest.mark.trial
def test_two_thousand_callbacks_and_a_group_of_500_posted_twice_at_once_alert_once_each(place: Path) -> None:
    with Rig(place, relay=PATIENT, mipush={"unknown_targets": "accept"}, without=["mimc"]) as rig:
        rig.start_web()
        rig.start_worker()
        members = [f"member-{number}" for number in range(500)]
        iphones = register_all(rig, members, app_id=OTHER)
        androids = register_all(rig, members[:50], app_id=OTHER, platform="mipush")
        single = [offline(f"sender-{n}", members[n % 500], f"message {n}", n, app_id=OTHER) for n in range(2_000)]
        bodies = [offline_topic("sender-0", members, "to all", 5_000, app_id=OTHER), *single]
        answers = post_all(rig, [body for body in bodies for _ in range(2)], app_id=OTHER)
        assert {answer.status for answer in answers} == {200}
        twins = zip(answers[::2], answers[1::2], strict=True)
        assert all({one.duplicate, other.duplicate} == {False, True} for one, other in twins)
        rig.settled(OTHER)
        texts = {name: ["to all", *(f"message {n}" for n in range(i, 2_000, 500))] for i, name in enumerate(members)}
        assert alerts(rig) == Counter((token, text) for name, token in iphones.items() for text in texts[name])
        assert mipush_alerts(rig) == Counter((regid, text) for name, regid in androids.items() for text in texts[name])


def test_what_was_answered_200_survives_the_death_of_the_store(place: Path) -> None:
    times = {"lease_s": 3.0, "push_timeout_s": 2.5, "silence_min_s": 2.0}
    with Rig(place, relay=times, without=["mimc", "mipush"]) as rig:
        rig.start_web()
        rig.start_worker()
        iphones = register_all(rig, READERS, app_id=OTHER)
        store_back, taken = threading.Event(), set[int]()

        def seen(index: int, answer: Response) -> None:
            taken.add(index)
            if answer.tries > 1:
                store_back.wait(20)

        with posting(rig, MESSAGES, seen) as answers:
            rig.wait(lambda: len(taken) > 400, "some callbacks")
            rig.store.signal(signal.SIGSTOP)  # first it only hangs, which is harder to notice
            refused = [it for it in posts_of_one(rig, 8) if it.status != 200]
            rig.store.kill()
            refused += posts_of_one(rig, 8)
            rig.start_store()
            store_back.set()
        assert len(refused) > 8
        assert {(it.status, it.retry_after) for it in refused} == {(503, "5")}
        assert max(it.seconds for it in refused) < 1.2
        assert statistics.median(it.seconds for it in refused) < 0.2
        assert all(it.status == 200 for it in answers)
        assert any(it.tries > 1 for it in answers)
        rig.settled(OTHER)
        assert alerts(rig) == once_each(iphones)


def test_what_was_answered_200_survives_the_death_of_the_web_processes(place: Path) -> None:
    with Rig(place, relay=PATIENT, without=["mimc", "mipush"]) as rig:
        web = rig.start_web()
        rig.start_worker()
        iphones = register_all(rig, READERS, app_id=OTHER)
        taken = set[int]()
        with posting(rig, MESSAGES, lambda index, _: taken.add(index)) as answers:
            for some in (200, 500, 800):
                rig.wait(lambda least=some: len(taken) > least, "more callbacks")  # type: ignore[misc]
                before = web.children()
                os.kill(before[0], signal.SIGKILL)
                rig.wait(lambda old=before: len(set(web.children()) - set(old)), "a new web process")  # type: ignore[misc]
        assert all(it.status == 200 for it in answers)
        assert sum(it.tries > 1 for it in answers) >= 3
        rig.settled(OTHER)
        assert alerts(rig) == once_each(iphones)


def test_what_is_not_for_the_phones_is_taken_and_dropped(place: Path) -> None:
    with Rig(place, relay={"dedupe_ttl_s": 340}, without=["mimc", "mipush"]) as rig:
        rig.start_web()
        rig.start_worker()
        (iphone,) = register_all(rig, ["alice"], app_id=OTHER).values()
        late = str(int((time.time() - 345) * 1000))
        dropped: list[dict[str, Any]] = [
            offline("bob", "alice", "captured long ago", 1, app_id=OTHER, timestamp=late),
            offline("bob", "alice", "instant", 2, app_id=OTHER, msgType="NORMAL_MSG"),
            {"msgType": "UCTOPIC_MSG", "appId": OTHER, "topicId": 21351198708203520, "payload": "aGk="},
            {"msgType": "TOMORROWS_MSG", "toAppId": OTHER, "toAccount": "alice", "new": [{"er": None}]},
        ]
        answers = post_all(rig, [*dropped, *dropped], app_id=OTHER, threads=1)
        assert {(it.status, it.duplicate) for it in answers} == {(200, False)}
        assert rig.backlog(OTHER) == 0
        recent = str(int((time.time() - 330) * 1000))
        assert rig.post(offline("bob", "alice", "just in time", 3, app_id=OTHER, timestamp=recent), OTHER).ok
        rig.settled(OTHER)
        assert alerts(rig) == Counter([(iphone, "just in time")])


def test_a_full_stream_is_answered_503_and_nothing_in_it_is_trimmed(place: Path) -> None:
    with Rig(place, without=["mimc", "mipush"]) as rig:
        # with more shards a cap may be exceeded for a second
        rig.start_web(APP_PROXY_STORE__CALLBACKS_CAP="30", APP_PROXY_STORE__SHARDS="1")
        iphones = register_all(rig, READERS, app_id=OTHER)
        answers = post_all(rig, MESSAGES[:50], app_id=OTHER)
        assert Counter(it.status for it in answers) == {200: 30, 503: 20}
        assert {it.retry_after for it in answers} == {None, "30"}
        again = post_all(rig, MESSAGES[:50], app_id=OTHER)
        assert [(it.status, it.duplicate) for it in again] == [
            (200, True) if first.status == 200 else (503, None) for first in answers
        ]
        with rig.redis() as redis:
            assert stored.length(redis, stored.callbacks(redis, OTHER)) == 30
        rig.start_worker()
        assert {it.status for it in post_all(rig, MESSAGES[:50], app_id=OTHER, insist=True)} == {200}
        rig.settled(OTHER)
        assert alerts(rig) == once_each(iphones, 50)


def test_mimcs_own_callbacks_reach_the_phone_once_though_the_store_was_away(place: Path) -> None:
    with Rig(place, mimc={"time_scale": 0.01}, without=["mipush"]) as rig:
        rig.start_web(APP_PROXY_APPS__OTHER__AUTHENTICATION="required")
        rig.start_worker()
        iphones = register_all(rig, ["alice", "carol"], app_id=OTHER)
        rig.store.kill()
        write(rig, text="new form", to_account="alice", copies=3)
        write(rig, text="old form", to_account="alice", form="old", authentication=True, ids="number", copies=3)
        write(rig, text="to all", members=["alice", "bob", "carol"], copies=3)
        write(rig, text="to all, old", members=["alice", "bob", "carol"], form="old", authentication=True)
        write(rig, text="a forgery", to_account="alice", authentication="bm90IGl0")
        write(rig, text="without proof", to_account="alice", form="old")
        rig.wait(lambda: len([it for it in callback_attempts(rig) if it["attempt"] == 2]) > 3, "some repeats")
        rig.start_store()
        pending = f"{rig.control('mimc')}/callbacks/pending"
        assert rig.http.get(pending, params={"wait_ms": 20_000}, timeout=30).json() == {"pending": 0}
        ends = Counter((it["status"], it["outcome"]) for it in callback_attempts(rig) if it["outcome"] != "refused")
        assert ends == {(200, "accepted"): 20, (403, "given up"): 4}
        assert 503 in {it["status"] for it in callback_attempts(rig)}
        rig.settled(OTHER)
        everybody = [(token, text) for token in iphones.values() for text in ("to all", "to all, old")]
        assert alerts(rig) == Counter([*everybody, (iphones["alice"], "new form"), (iphones["alice"], "old form")])


@contextmanager
def posting(rig: Rig, bodies: Sequence[Mapping[str, Any]], seen: Seen) -> Iterator[list[Response]]:
    """Posts in the background until each is taken; the answers are there at the end of the block."""
    answers: list[Response] = []
    thread = threading.Thread(
        target=lambda: answers.extend(post_all(rig, bodies, app_id=OTHER, threads=8, insist=True, seen=seen))
    )
    thread.start()
    try:
        yield answers
    finally:
        thread.join()
    assert len(answers) == len(bodies)


def posts_of_one(rig: Rig, count: int) -> list[Response]:
    """Posts of one caller, who always meets the same web process, one directly after the other."""
    with Caller(rig, OTHER) as caller:
        return [caller.post(offline("bob", "nobody", "hello", 10_000, app_id=OTHER)) for _ in range(count)]


def write(rig: Rig, **order: object) -> None:
    """Bob writes a message, of which the emulated MIMC tells us."""
    order |= {"app_id": OTHER, "from_account": "bob"}
    rig.http.post(f"{rig.control('mimc')}/messages", json=order, timeout=10).raise_for_status()


def callback_attempts(rig: Rig) -> list[dict[str, Any]]:
    return [it for it in rig.journal("mimc") if it["kind"] == "callback"]


def once_each(iphones: Mapping[str, str], count: int = len(MESSAGES)) -> Counter[tuple[str, str]]:
    """What `alerts` finds when every one of MESSAGES has rung once."""
    return Counter((iphones[READERS[n % len(READERS)]], f"message {n}") for n in range(count))


def mipush_alerts(rig: Rig) -> Counter[tuple[str, str]]:
    sent = [it for it in rig.journal("mipush") if it["kind"] == "send" and it["outcome"] == "accepted"]
    return Counter((target, it["shown_description"]) for it in sent for target in it["targets"])
