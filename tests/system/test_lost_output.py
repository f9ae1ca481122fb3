"""Nobody takes what the processes print or count: a full disk, a closed pipe, a folder that is gone.

Lines and counts are lost, /readyz says so, and the work goes on.
"""

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.rig import MAIN, Process, Rig, offline, push_token

FULL = Path("/dev/full")  # Linux has it


@pytest.fixture(params=[*(["a full disk"] if FULL.exists() else []), "a closed pipe"])
def output(request: pytest.FixtureRequest) -> Iterator[int]:
    """A file descriptor that refuses each write."""
    if request.param == "a full disk":
        descriptor = os.open(FULL, os.O_WRONLY)
    else:
        reading, descriptor = os.pipe()
        os.close(reading)
    yield descriptor
    os.close(descriptor)


@pytest.mark.trial
def test_callbacks_are_answered_and_pushed_and_the_lost_lines_counted(rig: Rig, output: int) -> None:
    rig.output = output
    web, worker = rig.start_web(), rig.start_worker()
    phone = push_token()
    assert rig.register("alice", "phone", phone).status_code == 200
    for number in range(20):
        assert rig.post(offline("bob", "alice", "hello", number)).status_code == 200
    rig.wait(lambda: len(rig.accepted(phone)) >= 20, "the pushes")
    rig.settled()
    rig.wait(lambda: rig.metric(worker, "app_proxy_log_lines_lost_total") >= 20, "the worker's count")
    rig.wait(lambda: rig.metric(web, "app_proxy_log_lines_lost_total") >= 20, "the web's count")
    for process in (web, worker):
        assert "lost since the start" in readyz(rig, process)["log lines"]
    assert (web.stop(), worker.stop()) == (0, 0)


def test_without_the_metrics_folder_all_is_answered_pushed_and_told(rig: Rig) -> None:
    """It is what a cleaner of /tmp may remove. A process that starts later finds it gone, a label may be new."""
    folder = rig.folder / "tmp/counts"
    folder.mkdir()
    web = rig.start_web(PROMETHEUS_MULTIPROC_DIR=str(folder))
    worker = rig.start_worker(PROMETHEUS_MULTIPROC_DIR=str(folder))
    phone = push_token()
    assert rig.register("alice", "phone", phone).status_code == 200
    assert not {"metrics", "log lines"} & {*readyz(rig, web), *readyz(rig, worker)}
    shutil.rmtree(folder)
    first = set(web.children())
    for pid in first:
        os.kill(pid, signal.SIGKILL)
    rig.wait(lambda: not first & {*web.children()} and len(web.children()) == 2, "other web processes")
    for number in range(10):
        assert rig.post(offline("bob", "alice", "hello", number)).status_code == 200
        assert rig.post(offline("bob", "alice", "hello", number)).status_code == 200  # a result that is new
        headers = {"Authorization": f"Bearer {rig.bearer('alice')}"}
        for status, shown in ((401, {}), (200, headers)):
            answer = rig.http.post(f"{rig.web}/api/account/token", json={"appId": MAIN}, headers=shown, timeout=10)
            assert answer.status_code == status
    rig.wait(lambda: len(rig.accepted(phone)) >= 10, "the pushes")
    rig.settled()
    for process in (web, worker):
        assert "counted by one process alone" in readyz(rig, process)["metrics"]
        assert rig.metric(process, "app_proxy_metrics_lost") > 0
    assert (web.stop(), worker.stop()) == (0, 0)


def test_ended_web_processes_leave_no_files_and_their_counts(rig: Rig) -> None:
    folder = rig.folder / "tmp/counts"
    folder.mkdir()
    web = rig.start_web(workers=1, PROMETHEUS_MULTIPROC_DIR=str(folder))
    for number, end in enumerate((signal.SIGTERM, signal.SIGKILL)):
        assert rig.post(offline("bob", "alice", "hello", number)).status_code == 200
        (ended,) = web.children()
        os.kill(ended, end)
        rig.wait(lambda: ended not in web.children() and len(web.children()) == 1, "another process")  # noqa: B023
        theirs = {"ended", str(web.popen.pid), str(web.children()[0])}
        rig.wait(lambda: {path.stem.rpartition("_")[2] for path in folder.glob("*.db")} == theirs, "its files")  # noqa: B023
        rig.wait(lambda: rig.is_up(web, f"{rig.operator}/healthz"), "the web")
    assert rig.metric(web, "app_proxy_callbacks_total", result="accepted") == 2


def test_what_gunicorn_says_of_its_processes_has_the_form_of_all_other_lines(rig: Rig) -> None:
    web = rig.start_web(workers=1)
    rig.post(offline("bob", "alice", "hello", 1))
    web.stop()
    events = [json.loads(line) for line in web.log.read_text().splitlines()]
    assert {"time", "level", "event"} <= set.intersection(*map(set, events))
    assert "Booting worker with pid" in " ".join(event["event"] for event in events)


def readyz(rig: Rig, process: Process) -> dict[str, str]:
    """What the process tells the operator; it can do its work, by now or in a second: so long it remembers its word."""
    url = process.facts["metrics"].replace("/metrics", "/readyz")
    rig.wait(lambda: rig.http.get(url, timeout=10).status_code == 200, "a process that can do its work")
    answer = rig.http.get(url, timeout=10)
    told: dict[str, str] = answer.json()["data"]
    return told
