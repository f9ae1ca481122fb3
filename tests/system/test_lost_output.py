"""Nobody takes what the processes print: a full disk, a closed pipe. Lines are lost and counted, the work goes on."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.rig import Rig, offline, push_token

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
    assert (web.stop(), worker.stop()) == (0, 0)


def test_what_gunicorn_says_of_its_processes_has_the_form_of_all_other_lines(rig: Rig) -> None:
    web = rig.start_web(workers=1)
    rig.post(offline("bob", "alice", "hello", 1))
    web.stop()
    events = [json.loads(line) for line in web.log.read_text().splitlines()]
    assert {"time", "level", "event"} <= set.intersection(*map(set, events))
    assert "Booting worker with pid" in " ".join(event["event"] for event in events)
