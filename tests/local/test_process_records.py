"""Processes are recognised by when they started."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from proxy.local.process_records import ProcessRecord, _asked_of_proc, _asked_of_ps, end_recorded, started_at

pytestmark = pytest.mark.system

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
ASKED = [
    pytest.param(_asked_of_proc, marks=pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc")),
    pytest.param(_asked_of_ps, marks=pytest.mark.skipif(not shutil.which("ps"), reason="no ps")),
]


@pytest.mark.parametrize("asked", ASKED)
def test_a_process_has_one_start_time_until_it_is_dead_even_as_a_zombie(asked: Callable[[int], str | None]) -> None:
    with subprocess.Popen(SLEEP, stdout=subprocess.PIPE) as process:
        first = asked(process.pid)
        assert first
        assert asked(process.pid) == first
        process.kill()
        assert process.stdout
        process.stdout.read()  # until it is dead; no process has waited for it yet
        while asked(process.pid):
            pass
    assert asked(process.pid) is None


def test_only_a_process_with_the_recorded_start_time_is_ended() -> None:
    with subprocess.Popen(SLEEP, start_new_session=True) as ours, subprocess.Popen(SLEEP) as reused:
        records = [
            ProcessRecord("ours", ours.pid, started_at(ours.pid) or ""),
            ProcessRecord("reused", reused.pid, "another time"),
            ProcessRecord("gone", 2**22 + 1, "long ago"),  # above the highest pid that Linux gives
        ]
        assert end_recorded(records, timedelta(seconds=5)) == records[:1]
        assert ours.wait(timeout=5) < 0
        assert reused.poll() is None
        reused.kill()
