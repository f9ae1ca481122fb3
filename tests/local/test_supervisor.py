"""The supervisor with real children: small programs, killed in every way."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from proxy.local.process_records import started_at
from proxy.local.state import FolderTaken, FolderUnusable
from proxy.local.supervisor import Announced, Child, ChildFailed, Restarts, StopRequested, Supervisor

pytestmark = pytest.mark.system

SLEEPER = "import os, time; print('pid', os.getpid(), flush=True); time.sleep(60)"
FAST = Restarts(limit=3, delay=timedelta(milliseconds=10))

# Starts two sleepers as the product does and prints their pids; the state folder is its only argument.
RUN = f"""
import sys
from pathlib import Path
from proxy.local.supervisor import Announced, Child, Supervisor
with Supervisor(Path(sys.argv[1])) as supervisor:
    for name in ("first", "second"):
        print(name, supervisor.start(Child(name, [sys.executable, "-c", {SLEEPER!r}], Announced(r"pid (\\d+)"))))
    print("up", flush=True)
    supervisor.wait()
print("down", flush=True)
"""


PRINTED_PID = Announced(r"^pid ?(\d*)")


def program(name: str, source: str, ready: Callable[[], bool] | Announced = PRINTED_PID) -> Child:
    return Child(name, [sys.executable, "-c", source], ready)


def until(holds: Callable[[], bool], within_seconds: float = 10) -> None:
    deadline = time.monotonic() + within_seconds
    while not holds():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.01)


def start_run(folder: Path) -> tuple["subprocess.Popen[str]", list[int], list[str]]:
    """A supervisor of two sleepers in a process of its own, their pids, and what it said until it was up."""
    run = subprocess.Popen([sys.executable, "-c", RUN, str(folder)], stdout=subprocess.PIPE, text=True)
    assert run.stdout
    lines = []
    for line in run.stdout:
        lines.append(line)
        if line == "up\n":
            break
    return run, [int(line.split()[1]) for line in lines if re.match("first|second", line)], lines


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def supervisor(tmp_path: Path, said: list[str]) -> Iterator[Supervisor]:
    with Supervisor(tmp_path / "state", say=said.append, restarts=FAST) as running:
        yield running


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stop_signal_ends_every_child_and_leaves_no_record(tmp_path: Path, number: signal.Signals) -> None:
    run, children, _ = start_run(tmp_path)
    with run:
        run.send_signal(number)
        assert run.communicate(timeout=10)[0] == "down\n"
    assert run.returncode == 0
    assert [started_at(pid) for pid in children] == [None, None]
    assert json.loads((tmp_path / "processes.json").read_text()) == []


def guardian_of(run: "subprocess.Popen[str]") -> int:
    listing = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True).stdout
    (pid,) = (
        int(pid)
        for pid, parent, arguments in (line.split(None, 2) for line in listing.splitlines())
        if int(parent) == run.pid and "proxy.local.guardian" in arguments
    )
    return pid


def test_all_children_end_with_a_run_that_is_killed(tmp_path: Path) -> None:
    killed, children, _ = start_run(tmp_path)
    guardian = guardian_of(killed)
    with killed:
        killed.kill()
    until(lambda: [started_at(pid) for pid in (*children, guardian)] == [None] * 3, within_seconds=60)


def test_a_guardian_ends_with_a_run_that_ends_in_order(tmp_path: Path) -> None:
    run, _, _ = start_run(tmp_path)
    guardian = guardian_of(run)
    with run:
        run.terminate()
    assert started_at(guardian) is None


def test_after_a_kill_of_run_and_guardian_the_next_run_ends_exactly_the_recorded_processes(tmp_path: Path) -> None:
    killed, children, _ = start_run(tmp_path)
    os.kill(guardian_of(killed), signal.SIGKILL)
    with killed:
        killed.kill()
    assert all(started_at(pid) for pid in children)
    bystander = subprocess.Popen([sys.executable, "-c", SLEEPER], stdout=subprocess.DEVNULL, start_new_session=True)
    with bystander:
        records = json.loads((tmp_path / "processes.json").read_text())
        assert [record["pid"] for record in records] == children
        reused = {"name": "reused", "pid": bystander.pid, "started": records[0]["started"]}  # pid lives, time differs
        (tmp_path / "processes.json").write_text(json.dumps([*records, reused]))
        run, _, said = start_run(tmp_path)
        with run:
            assert [started_at(pid) for pid in children] == [None, None]
            assert bystander.poll() is None
            assert [line for line in said if line.startswith("ended")] == [
                f"ended {name} (process {pid}), left behind by a run that was killed\n"
                for name, pid in zip(("first", "second"), children, strict=True)
            ]
            run.terminate()
        bystander.kill()


def test_a_child_does_not_begin_before_it_is_recorded(tmp_path: Path, supervisor: Supervisor) -> None:
    records = tmp_path / "state" / "processes.json"
    source = f"import os; print('recorded', str(os.getpid()) in open({str(records)!r}).read(), flush=True);" + SLEEPER
    assert supervisor.start(program("child", source, Announced("recorded (.*)"))) == "True"


def test_a_dead_child_is_started_again_and_what_it_left_is_ended(supervisor: Supervisor, said: list[str]) -> None:
    source = (
        "import subprocess, sys, time;"
        "print('pid', subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).pid, flush=True);"
        "time.sleep(60)"
    )
    grandchild = int(supervisor.start(program("child", source)))
    before = supervisor.pid("child")
    os.kill(before, signal.SIGKILL)
    until(lambda: supervisor.pid("child") != before)
    until(lambda: started_at(grandchild) is None)
    assert said == ["  child is up", "child ended (killed by SIGKILL); starting it again now"]


def test_a_child_that_dies_again_and_again_is_given_up_with_the_end_of_its_log(
    tmp_path: Path, supervisor: Supervisor, said: list[str]
) -> None:
    alive_once = f"import pathlib, sys; path = pathlib.Path({str(tmp_path / 'once')!r})\n"
    alive_once += "if path.exists(): sys.exit('no disk')\npath.touch();" + SLEEPER
    supervisor.start(program("child", alive_once))
    os.kill(supervisor.pid("child"), signal.SIGTERM)
    with pytest.raises(ChildFailed, match=r"(?s)child ended 3 times in a row, at last with exit 1\. .*no disk"):
        supervisor.wait()
    assert len(said) == 3


def test_a_child_that_ends_before_it_is_ready_is_reported_with_its_log(supervisor: Supervisor) -> None:
    with pytest.raises(ChildFailed, match=r"(?s)web ended before it was ready \(exit 3\).*address in use"):
        supervisor.start(program("web", "import sys; print('address in use'); sys.exit(3)"))


def test_a_command_that_does_not_exist_is_named(supervisor: Supervisor) -> None:
    with pytest.raises(ChildFailed, match=r"(?s)ended before it was ready \(exit 127\).*no-such-command"):
        supervisor.start(Child("web", ["no-such-command"], lambda: False))


def test_a_child_that_does_not_get_ready_in_time_is_reported_and_ended(tmp_path: Path) -> None:
    def start_one_that_never_gets_ready() -> None:
        with Supervisor(tmp_path) as supervisor:
            supervisor.start(replace(program("slow", SLEEPER, lambda: False), ready_within=timedelta(seconds=0.3)))

    with pytest.raises(ChildFailed, match=r"(?s)slow was not ready after 0\.3 s.*pid \d+") as failure:
        start_one_that_never_gets_ready()
    child = int(re.findall(r"pid (\d+)", str(failure.value))[0])
    assert started_at(child) is None


def test_a_child_that_ignores_sigterm_is_killed_after_its_grace(tmp_path: Path) -> None:
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);" + SLEEPER
    with Supervisor(tmp_path) as supervisor:
        supervisor.start(replace(program("deaf", deaf), grace=timedelta(milliseconds=200)))
        pid = supervisor.pid("deaf")
    assert started_at(pid) is None


def test_children_are_stopped_in_reverse_order(tmp_path: Path) -> None:
    order = tmp_path / "order"
    source = (
        "import signal, sys, time\n"
        "def stop(*_):\n"
        f"    with open({str(order)!r}, 'a') as order: print(sys.argv[1], file=order)\n"
        "    sys.exit()\n"
        "signal.signal(signal.SIGTERM, stop); print('pid', flush=True); time.sleep(60)"
    )
    with Supervisor(tmp_path) as supervisor:
        for name in ("store", "web", "worker"):
            supervisor.start(Child(name, [sys.executable, "-c", source, name], Announced("pid")))
    assert order.read_text().split() == ["worker", "web", "store"]


def test_a_second_copy_is_told_who_holds_the_folder(tmp_path: Path, supervisor: Supervisor) -> None:
    with pytest.raises(FolderTaken, match=rf"another copy is running in .*state \(process {os.getpid()}\)"):
        Supervisor(tmp_path / "state").__enter__()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FolderUnusable, match=r"cannot keep state in .*/file/state: .*Choose another folder"):
        Supervisor(tmp_path / "file" / "state").__enter__()


def test_a_stop_signal_interrupts_whatever_the_block_does(tmp_path: Path) -> None:
    after = []
    with Supervisor(tmp_path):
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM)).start()
        time.sleep(20)
        after.append("not reached")
    assert not after
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_second_ctrl_c_does_not_break_the_stopping(tmp_path: Path) -> None:
    asked, may_end = tmp_path / "asked", tmp_path / "may end"
    slow_to_stop = (
        "import signal, sys, time; from pathlib import Path\n"
        "def stop(*_):\n"
        f"    Path({str(asked)!r}).touch()\n"
        f"    while not Path({str(may_end)!r}).exists(): time.sleep(0.01)\n"
        "    sys.exit()\n"
        "signal.signal(signal.SIGTERM, stop);" + SLEEPER
    )

    def press_again() -> None:
        while not asked.exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)
        may_end.touch()

    with Supervisor(tmp_path) as supervisor:
        supervisor.start(program("slow", slow_to_stop))
        pid = supervisor.pid("slow")
        second = threading.Thread(target=press_again, daemon=True)
        second.start()
        raise StopRequested
    second.join(10)
    assert started_at(pid) is None


def test_each_run_has_a_fresh_log_and_keeps_the_one_before(tmp_path: Path) -> None:
    for word in ("monday", "tuesday"):
        with Supervisor(tmp_path) as supervisor:
            supervisor.start(program("child", f"print('{word}', flush=True);" + SLEEPER))
    assert (tmp_path / "logs" / "child.log").read_text().startswith("tuesday")
    assert (tmp_path / "logs" / "child.log.1").read_text().startswith("monday")
