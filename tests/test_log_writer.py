"""Lines into a descriptor that may be full, closed or slow."""

import fcntl
import json
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from proxy.log_writer import LogWriter

PIPE_BYTES = 65_536
LINE = b"x" * 1023 + b"\n"


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe that holds PIPE_BYTES at least until it is read."""
    reading, writing = os.pipe()
    yield reading, writing
    os.close(reading)
    os.close(writing)


class Losses:
    """Counts lost lines, as the metric does."""

    def __init__(self) -> None:
        self.lines = 0
        self._changed = threading.Condition()

    def __call__(self, lines: int) -> None:
        with self._changed:
            self.lines += lines
            self._changed.notify_all()

    def wait_for(self, enough: Callable[[int], bool]) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: enough(self.lines), 60)


def notice(count: int) -> bytes:
    return f"{count} lost\n".encode()


def read(descriptor: int, until: bytes) -> bytes:
    text = b""
    while until not in text:
        text += os.read(descriptor, PIPE_BYTES)
    return text


def started(descriptor: int, losses: Losses) -> LogWriter:
    writer = LogWriter(descriptor, losses, notice)
    writer.start()
    return writer


def test_lines_come_out_in_order_while_the_process_lives(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    writer = started(writing, Losses())
    for number in range(100):
        writer.write(b"%d\n" % number)
    assert read(reading, b"\n99\n").split() == [b"%d" % number for number in range(100)]
    writer.close()


def test_what_waits_is_written_when_the_process_ends() -> None:
    program = """
    import os
    from proxy.log_writer import LogWriter
    writer = LogWriter(2)
    writer.start()
    for number in range(1000):
        writer.write(b"%d\\n" % number)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, check=True)
    assert done.stderr.split() == [b"%d" % number for number in range(1000)]


def test_a_slow_reader_holds_nobody_up_and_what_has_no_room_is_lost_and_counted(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    losses = Losses()
    writer = started(writing, losses)
    count = 20_000  # 20 MB, without anybody who reads: a write that waited would never end
    for _ in range(count):
        writer.write(LINE)
    assert losses.wait_for(lambda lines: lines > count // 2)
    told = [line for line in read(reading, b" lost\n").splitlines(keepends=True) if line != LINE]
    assert told[0].endswith(b" lost\n")
    writer.close()


def test_a_reader_who_never_comes_back_does_not_keep_the_process_from_ending(pipe: tuple[int, int]) -> None:
    _, writing = pipe
    losses = Losses()
    writer = started(writing, losses)
    for _ in range(1000):
        writer.write(LINE)
    started_at = time.monotonic()
    writer.close()  # would never return
    assert time.monotonic() - started_at < 5  # not a moment more for each piece of what waits
    assert losses.wait_for(lambda lines: lines >= 1000 - PIPE_BYTES // len(LINE))


@pytest.mark.parametrize("threaded", [True, False])
def test_lines_for_a_pipe_whose_reader_has_gone_are_lost_and_counted(threaded: bool) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    losses = Losses()
    writer = LogWriter(writing, losses, notice)
    if threaded:
        writer.start()
    for _ in range(10):
        writer.write(LINE)
    assert losses.wait_for(lambda lines: lines == 10)
    writer.close()
    os.close(writing)


def test_a_full_disk_loses_lines_until_it_has_room_again(tmp_path: Path) -> None:
    """A limit to the file's size plays the full disk: the write that meets it is cut short, the next ones fail."""
    program = """
    import resource, signal
    from proxy.log_writer import LogWriter
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (25, resource.RLIM_INFINITY))
    lost = []
    writer = LogWriter(2, lost.append, lambda count: b"%d lost\\n" % count)
    for number in range(4):
        writer.write(b"line %d ---\\n" % number)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    writer.write(b"line 4\\n")
    print(sum(lost))
    """
    with (tmp_path / "log").open("wb") as log:
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, stderr=log, check=True
        )
    assert int(done.stdout) == 2
    assert (tmp_path / "log").read_bytes() == b"line 0 ---\nline 1 ---\nlin\nline 4\n2 lost\n"


def test_a_process_that_forks_never_waits_for_its_output_either(pipe: tuple[int, int]) -> None:
    _, writing = pipe
    losses = Losses()
    writer = LogWriter(writing, losses, notice)
    for _ in range(1000):
        writer.write(LINE)
    assert losses.lines >= 1000 - PIPE_BYTES // len(LINE)


def test_a_descriptor_that_does_not_block_is_waited_for_by_the_thread_alone(pipe: tuple[int, int]) -> None:
    """A terminal that node or ssh has left so."""
    reading, writing = pipe
    fcntl.fcntl(writing, fcntl.F_SETFL, fcntl.fcntl(writing, fcntl.F_GETFL) | os.O_NONBLOCK)
    losses = Losses()
    writer = started(writing, losses)
    for _ in range(1000):
        writer.write(LINE)
    writer.write(b"last\n")
    assert read(reading, b"last\n") == LINE * 1000 + b"last\n"
    assert losses.lines == 0
    writer.close()


def test_lost_lines_are_told_in_the_log_s_own_form() -> None:
    program = """
    import os, time, structlog
    from proxy.logs import configure_logs
    stderr, (reading, writing) = os.dup(2), os.pipe()
    os.dup2(writing, 2)
    os.close(writing)
    os.close(reading)
    lost = []
    configure_logs(on_lost=lost.append)
    structlog.get_logger().info("without a reader")
    while not lost:
        time.sleep(0.01)
    os.dup2(stderr, 2)
    structlog.get_logger().info("to a reader")
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, check=True)
    line, told = map(json.loads, done.stderr.splitlines())
    assert line["event"] == "to a reader"
    assert (told["event"], told["level"], told["lines"]) == ("log lines were lost", "warning", 1)
