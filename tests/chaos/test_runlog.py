"""The run log's writer and reader."""

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.runlog import RunLog, now_ms, read_run_log
from tests.chaos.sockets import ports_of


def test_what_is_written_is_read_in_order(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    before = now_ms()
    with RunLog(path) as log:
        log.write("run", seed=7, started_at_ms=1)
        log.write("worker", pid=12, ms=5)
        log.write("end", backlog=0)
    run, worker, end = read_run_log(path)
    assert (run["event"], run["seed"]) == ("run", 7)
    assert worker == {"event": "worker", "ms": 5, "pid": 12}
    assert before <= run["ms"] <= end["ms"] <= now_ms()


def test_a_line_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    with RunLog(path) as log:
        log.write("worker", pid=12)
    with path.open("a") as file:
        file.write('{"event":"wor')
    assert [event["event"] for event in read_run_log(path)] == ["worker"]


@pytest.mark.parametrize(
    ("event", "facts"),
    [
        ("dance", {}),
        ("worker", {}),
        ("worker", {"pid": 1, "name": "w"}),
        ("fault", {"kind": "boredom", "target": "worker", "pid": 1, "begin_ms": 1, "end_ms": 2}),
    ],
)
def test_a_line_that_the_auditor_could_not_read_is_refused(tmp_path: Path, event: str, facts: dict[str, Any]) -> None:
    with RunLog(tmp_path / "run.jsonl") as log, pytest.raises(ValueError, match=r"unknown|missing"):
        log.write(event, **facts)


def test_a_process_shows_the_ports_of_its_connections() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        ports = ports_of(os.getpid())
        assert ports is None or client.getsockname()[1] in ports
