"""A process that is slowed down gets its share at most, by either means, and goes on as before afterwards."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.bench import shares
from tests.bench.shares import share_of_a_core

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="CPU time is read from /proc")


@pytest.fixture
def busy() -> Iterator[subprocess.Popen[bytes]]:
    """The leader of a process group that would take a whole core."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"], start_new_session=True) as process:
        yield process
        process.kill()


def used_s(process: subprocess.Popen[bytes]) -> float:
    return int(Path(f"/proc/{process.pid}/schedstat").read_text().split()[0]) / 1e9


@pytest.mark.parametrize(
    "slow_down",
    [lambda process: share_of_a_core(process, 0.2), lambda process: shares._duty_cycle(process.pid, 0.2)],
    ids=["as permitted", "stopped and continued"],
)
def test_a_process_gets_its_share_of_a_core_and_goes_on_afterwards(
    slow_down: Callable[[subprocess.Popen[bytes]], AbstractContextManager[object]], busy: subprocess.Popen[bytes]
) -> None:
    with slow_down(busy):
        time.sleep(0.2)
        before, began = used_s(busy), time.monotonic()
        time.sleep(1)
        assert used_s(busy) - before < 0.4 * (time.monotonic() - began)
    before = used_s(busy)
    until = time.monotonic() + 10
    while used_s(busy) - before < 0.05:
        assert time.monotonic() < until, "it does not go on"
        time.sleep(0.02)


def test_nothing_is_left_of_a_quota(busy: subprocess.Popen[bytes]) -> None:
    with share_of_a_core(busy, 0.2):
        pass
    left = [group for parent in (shares._V1, shares._V2) for group in parent.glob(f"app-proxy-tests-{busy.pid}")]
    assert left == []
