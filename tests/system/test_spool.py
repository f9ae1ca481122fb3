"""Callbacks while the store is away: kept on disk, answered 200, and shown once each when it is back."""

import signal
import statistics
import sys
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from proxy.spool.format import Record, walk
from tests import stored
from tests.system.callers import Response, alerts, post_all, register_all
from tests.system.rig import OTHER, ROOT, Process, Rig, offline, offline_topic

# where no process dies that holds pushes, a push that takes long on a busy machine must not be repeated
PATIENT = {"lease_s": 15.0, "heartbeat_s": 4.0, "push_timeout_s": 10.0, "silence_min_s": 8.0, "drain_s": 10.0}
WITHOUT = ["mimc", "mipush"]
READERS = [f"reader-{number}" for number in range(20)]


def bodies(count: int, first: int = 0) -> list[dict[str, Any]]:
    numbers = range(first, first + count)
    return [offline(f"sender-{n}", READERS[n % 20], f"message {n}", n, app_id=OTHER) for n in numbers]


def once_each(iphones: Mapping[str, str], count: int) -> Counter[tuple[str, str]]:
    """What `alerts` finds when each of so many bodies has rung once."""
    return Counter((iphones[READERS[n % 20]], f"message {n}") for n in range(count))


def start_web(rig: Rig, workers: int = 2, **variables: str) -> Process:
    return rig.start_web(workers, APP_PROXY_STORE__SPOOL_DIR=str(folder(rig)), **variables)


def folder(rig: Rig) -> Path:
    return rig.folder / "spool"


def kept(rig: Rig) -> int:
    """How many callbacks wait on the disk."""
    found = 0
    for path in files(rig):
        with suppress(FileNotFoundError):  # handed in meanwhile
            found += sum(isinstance(it, Record) and not it.done for it in walk(path.read_bytes()))
    return found


def files(rig: Rig) -> list[Path]:
    return sorted(folder(rig).glob("*.spool"))


def statuses(answers: Sequence[Response]) -> dict[int, int]:
    return Counter(it.status for it in answers)


def figure(rig: Rig, name: str) -> float:
    """The sum of a metric's samples on the web's /metrics."""
    lines = rig.http.get(f"{rig.operator}/metrics", timeout=10).text.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))


def drained(rig: Rig) -> None:
    rig.wait(lambda: not files(rig), "an empty spool", 40)
    rig.settled(OTHER)


def test_callbacks_are_taken_while_the_store_is_dead_and_shown_once_when_it_is_back(place: Path) -> None:
    with Rig(place, relay=PATIENT, without=WITHOUT) as rig:
        start_web(rig)
        rig.start_worker()
        iphones = register_all(rig, READERS, app_id=OTHER)
        assert statuses(post_all(rig, bodies(100), app_id=OTHER)) == {200: 100}
        rig.secret("message text", "message 399")
        rig.store.kill()
        answers = post_all(rig, bodies(300, first=100), app_id=OTHER)
        repeats = post_all(rig, bodies(300, first=100), app_id=OTHER)  # also to the process that does not have it
        assert statuses([*answers, *repeats]) == {200: 600}
        assert {it.duplicate for it in [*answers, *repeats]} == {False}
        assert kept(rig) == 600
        assert len(files(rig)) in (1, 2)  # one process may have got all connections
        told = rig.readiness()["spool"]
        assert told.startswith(
            "on: the store is away, callbacks are kept on this machine's disk and answered 200: 600 "
        )
        assert rig.http.get(f"{rig.operator}/readyz", timeout=10).status_code == 200
        assert rig.register("alice", "phone", "ab" * 32, app_id=OTHER).status_code == 503
        figures = [figure(rig, f"app_proxy_spool_{name}") for name in ("callbacks_waiting", "stored_total")]
        assert figures == [600, 600]
        rig.start_store()
        drained(rig)
        assert alerts(rig) == once_each(iphones, 400)
        rig.wait(lambda: rig.readiness()["spool"].endswith("none waits"), "an empty spool in /readyz")
        rig.wait(lambda: figure(rig, "app_proxy_spool_drained_total") == 600, "the count of what was handed in")
        assert figure(rig, "app_proxy_spool_callbacks_waiting") == 0


@pytest.mark.trial
def test_a_store_that_hangs_costs_the_first_callers_a_moment_and_nobody_an_alert(place: Path) -> None:
    """Its calls end in time-outs, and what it had read before it hung it does when it goes on."""
    with Rig(place, relay=PATIENT, without=WITHOUT) as rig:
        start_web(rig, workers=1)
        rig.start_worker()
        iphones = register_all(rig, READERS, app_id=OTHER)
        taken = list[Response]()

        def post() -> None:
            taken.extend(post_all(rig, bodies(300), app_id=OTHER, threads=8, seen=lambda *_: count.append(1)))

        count = list[int]()
        caller = threading.Thread(target=post)
        caller.start()
        rig.wait(lambda: len(count) > 50, "some callbacks")
        rig.store.signal(signal.SIGSTOP)
        caller.join()
        taken += post_all(rig, bodies(16, first=300), app_id=OTHER)  # by now it is known, were the others ever so quick
        later = post_all(rig, bodies(584, first=316), app_id=OTHER)
        rig.store.signal(signal.SIGCONT)
        assert statuses([*taken, *later]) == {200: 900}
        assert max(it.seconds for it in taken) < 3
        # a machine that does other things as well may keep a caller waiting; the store's time-out is 700 ms
        assert statistics.quantiles([it.seconds for it in later], n=100)[98] < 0.5
        drained(rig)
        assert alerts(rig) == once_each(iphones, 900)


def test_what_was_kept_survives_kill_9_of_the_web_and_is_handed_in_by_the_next(place: Path) -> None:
    with Rig(place, relay=PATIENT, without=WITHOUT) as rig:
        web = start_web(rig)
        rig.start_worker()
        iphones = register_all(rig, READERS, app_id=OTHER)
        rig.store.kill()
        count = list[int]()

        def post() -> None:
            post_all(rig, bodies(400), app_id=OTHER, threads=8, insist=True, seen=lambda *_: count.append(1))

        caller = threading.Thread(target=post)
        caller.start()
        rig.wait(lambda: len(count) > 100, "some callbacks")
        web.kill()
        assert kept(rig) >= len(count)
        start_web(rig)
        caller.join()
        rig.start_store()
        drained(rig)
        assert alerts(rig) == once_each(iphones, 400)


@pytest.mark.trial
def test_a_drain_that_is_killed_again_and_again_shows_nothing_twice(place: Path) -> None:
    with Rig(place, relay=PATIENT, without=WITHOUT) as rig:
        web = start_web(rig)
        iphones = register_all(rig, READERS, app_id=OTHER)
        rig.store.kill()
        assert statuses(post_all(rig, bodies(900), app_id=OTHER)) == {200: 900}
        rig.start_store()
        rig.start_worker()
        for some in (1, 300, 600):
            rig.wait(lambda least=some: kept(rig) <= 900 - least, "a part of it to be handed in")  # type: ignore[misc]
            web.kill()
            web = start_web(rig)
        drained(rig)
        assert alerts(rig) == once_each(iphones, 900)


@pytest.mark.trial
def test_a_file_is_handed_in_by_one_process_alone(place: Path) -> None:
    with Rig(place, relay=PATIENT, without=WITHOUT) as rig:
        web = start_web(rig, workers=1)
        rig.store.kill()
        assert statuses(post_all(rig, bodies(400), app_id=OTHER)) == {200: 400}
        web.kill()
        rig.start_store()
        start_web(rig, workers=2)  # both find the orphan at their start
        rig.wait(lambda: not files(rig), "an empty spool", 40)
        rig.wait(lambda: figure(rig, "app_proxy_spool_drained_total") >= 400, "the count of what was handed in")
        assert figure(rig, "app_proxy_spool_drained_total") == 400
        assert figure_of(rig, "accepted") == 400
        with rig.redis() as redis:
            assert stored.length(redis, stored.callbacks(redis, OTHER)) == 400


def figure_of(rig: Rig, result: str) -> float:
    text = rig.http.get(f"{rig.operator}/metrics", timeout=10).text
    start = f'app_proxy_spool_drained_total{{result="{result}"}}'
    return sum(float(line.split()[1]) for line in text.splitlines() if line.startswith(start))


@pytest.mark.trial
def test_a_full_spool_answers_503_and_loses_nothing_of_what_it_took(place: Path) -> None:
    with Rig(place, relay=PATIENT, without=WITHOUT) as rig:
        start_web(rig, APP_PROXY_STORE__SPOOL_MAX_BYTES="30000")
        rig.start_worker()
        iphones = register_all(rig, READERS, app_id=OTHER)
        rig.store.kill()
        answers = post_all(rig, bodies(200), app_id=OTHER)
        assert set(statuses(answers)) == {200, 503}
        assert statuses(answers)[200] == kept(rig)
        assert {it.retry_after for it in answers if it.status == 503} == {"5"}
        assert rig.http.get(f"{rig.operator}/readyz", timeout=10).status_code == 503
        assert "the spool is full" in rig.readiness()["spool error"]
        assert figure(rig, "app_proxy_spool_failures_total") == statuses(answers)[503]
        rig.start_store()
        assert statuses(post_all(rig, bodies(200), app_id=OTHER, insist=True)) == {200: 200}
        drained(rig)
        assert alerts(rig) == once_each(iphones, 200)


@pytest.mark.trial
def test_a_disk_without_room_answers_503_and_leaves_no_torn_record(place: Path) -> None:
    """By the kernel's limit to a file's size, which ends a write in the middle as a full disk does."""
    with Rig(place, relay=PATIENT, without=WITHOUT) as rig:
        web = start_limited_web(rig, 1 << 20)
        rig.start_worker()
        iphones = register_all(rig, READERS, app_id=OTHER)
        rig.store.kill()
        strangers = [f"{'x' * 60}-{number}" for number in range(500)]
        large = [
            offline_topic(f"sender-{n}", [READERS[n % 20], *strangers], f"message {n}", n, app_id=OTHER)
            for n in range(60)
        ]
        answers = post_all(rig, large, app_id=OTHER)
        assert set(statuses(answers)) == {200, 503}
        assert statuses(answers)[200] == kept(rig)
        (path,) = files(rig)
        assert all(isinstance(it, Record) for it in walk(path.read_bytes()))
        web.kill()
        start_web(rig)
        rig.start_store()
        assert statuses(post_all(rig, large, app_id=OTHER, insist=True)) == {200: 60}
        drained(rig)
        assert alerts(rig) == once_each(iphones, 60)


def start_limited_web(rig: Rig, most: int) -> Process:
    """A web whose files end at that size."""
    argv = [sys.executable, "-c", _LIMITED, str(most), "-c", str(ROOT / "config/gunicorn.conf.py"), "wsgi:app"]
    variables = {"WEB_CONCURRENCY": "1", "APP_PROXY_STORE__SPOOL_DIR": str(folder(rig))}
    process = rig.start("web", argv, **variables)
    rig.wait(lambda: rig.is_up(process, f"{rig.operator}/healthz"), "the web")
    return process


_LIMITED = """
import resource, sys
most = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
from gunicorn.app.wsgiapp import run
run()
"""
