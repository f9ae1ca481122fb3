"""Where log lines go: to a file descriptor, without ever holding up or failing the work that writes them.

The caller only puts a line into memory. A thread writes what has gathered, every 100 ms; the first line after a pause
is written at once. A line is lost, and counted, where the descriptor refuses it (a full disk, a pipe whose reader has
gone) or where its reader is so slow that too much waits. At an ordinary end, SIGTERM included, what waits is written; a
crash or SIGKILL loses the last 100 ms.

gunicorn's master forks, and a thread does not survive a fork. So until `start` is called the caller writes by itself,
and loses a line rather than wait.
"""

import atexit
import math
import os
import select
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from queue import Empty, SimpleQueue

_GATHER_S = 0.1
_AT_EXIT_S = 1.0  # for a reader who is slow when the process ends
_MOST_WAITING = 4 << 20  # bytes
_CHUNK = min(select.PIPE_BUF, 4096)  # so much goes into a pipe in one piece: processes that share it mix no lines


class LogWriter:
    """Writes lines to `descriptor`. `on_lost` gets the number of lines that were lost since it was last called;
    `notice` makes the line which says so in the log, once it takes lines again.
    """

    def __init__(
        self,
        descriptor: int,
        on_lost: Callable[[int], None] = lambda _lines: None,
        notice: Callable[[int], bytes] = bytes,
    ) -> None:
        self._descriptor, self._on_lost, self._notice = descriptor, on_lost, notice
        self._lines: SimpleQueue[bytes] = SimpleQueue()  # its put may be used in a signal handler, a lock of ours not
        self._waiting = 0  # bytes; threads that write at once may miscount, so each taking begins it anew
        self._refused = 0  # lines for which there was no room, not yet reported
        self._to_tell = 0  # lines lost since the last notice
        self._torn = False  # the last line was cut in the middle
        self._thread: threading.Thread | None = None
        self._ending = threading.Event()
        self._give_up_at = math.inf

    def write(self, line: bytes) -> None:
        """Write the line, which ends with a newline, now or soon. Neither waits for the descriptor nor raises."""
        if self._thread is None:
            self._write([line])
        elif self._waiting < _MOST_WAITING:
            self._waiting += len(line)
            self._lines.put(line)
        else:
            self._refused += 1

    def start(self) -> None:
        """From now on a thread writes, until the process ends."""
        self._thread = threading.Thread(target=self._run, name="log writer", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def close(self) -> None:
        """Write what waits, for a second at most; later lines are written by their callers."""
        if self._thread:
            self._give_up_at = time.monotonic() + _AT_EXIT_S
            self._ending.set()
            self._lines.put(b"")  # wakes it
            self._thread.join(10 * _AT_EXIT_S)  # it gives up by itself; on a starved machine it comes late
            self._thread = None

    def _run(self) -> None:
        while not self._ending.is_set():
            first = self._lines.get()
            self._waiting = 0
            self._write([first, *self._taken()])
            self._ending.wait(_GATHER_S)
        self._write(self._taken())

    def _taken(self) -> Iterator[bytes]:
        with suppress(Empty):
            while True:
                yield self._lines.get_nowait()

    def _write(self, lines: Iterable[bytes]) -> None:
        for chunk in _chunks(lines):
            lost = self._put_out(chunk)
            if lost:
                self._refused += lost
            elif self._to_tell and not self._put_out(self._notice(self._to_tell)):
                self._to_tell = 0
            self._report()

    def _put_out(self, text: bytes) -> int:
        """How many lines of the text were lost: 0 where all was written."""
        if self._torn:
            text = b"\n" + text
        while text and self._takes_more():
            try:
                written = os.write(self._descriptor, text[:_CHUNK])
            except BlockingIOError:
                continue
            except OSError:
                break
            text = text[written:]
            self._torn = bool(text)
        return text.lstrip(b"\n").count(b"\n")

    def _takes_more(self) -> bool:
        """Would a write not block? The thread waits until it would not."""
        patient = threading.current_thread() is self._thread and time.monotonic() < self._give_up_at
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        while not poll.poll(_GATHER_S * 1000 if patient else 0):
            if not patient or time.monotonic() > self._give_up_at:
                return False
            self._report()
        return True

    def _report(self) -> None:
        lost, self._refused = self._refused, 0
        if lost:
            self._to_tell += lost
            with suppress(Exception):  # what counts must not end the thread either
                self._on_lost(lost)


def _chunks(lines: Iterable[bytes]) -> Iterator[bytes]:
    chunk: list[bytes] = []
    size = 0
    for line in lines:
        if chunk and size + len(line) > _CHUNK:
            yield b"".join(chunk)
            chunk, size = [], 0
        chunk.append(line)
        size += len(line)
    yield b"".join(chunk)
