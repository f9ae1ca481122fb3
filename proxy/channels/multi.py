"""A libcurl multi on the running asyncio loop.

pycurl's own AsyncCurlMulti makes a future, a callback and an exception object for each transfer, and a transfer whose
future was cancelled cannot be used again at once. Here the owner is called, and that is all.
"""

import asyncio
from collections.abc import Callable

import pycurl

Done = Callable[[pycurl.Curl, int], None]


class Multi:
    """Runs easy handles; calls `on_done(curl, code)` once for each that has ended, never from inside libcurl."""

    def __init__(self, on_done: Done) -> None:
        self._on_done = on_done
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.Handle | None = None
        self._is_due = False  # the timer fires in the next turn of the loop; each started transfer asks for that
        self._watched: dict[int, int] = {}
        self.closed = False
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch_socket)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._set_timer)

    def setopt(self, option: int, value: int) -> None:
        self._multi.setopt(option, value)

    def add(self, curl: pycurl.Curl) -> None:
        """Start a transfer. It goes out in the loop's next turn."""
        self._multi.add_handle(curl)

    def remove(self, curl: pycurl.Curl) -> None:
        """Take back a transfer that has not ended. Its handle may be used again."""
        self._multi.remove_handle(curl)

    def close(self) -> None:
        """Only once every transfer has ended or was removed."""
        if self.closed:
            return
        self.closed = True
        self._stop_timer()
        self._multi.close()
        for fd in list(self._watched):
            self._watch_socket(pycurl.POLL_REMOVE, fd)

    def _watch_socket(self, what: int, fd: int, *_: object) -> None:
        before = self._watched.pop(fd, pycurl.POLL_NONE)
        wanted = pycurl.POLL_NONE if what == pycurl.POLL_REMOVE else what
        if (wanted ^ before) & pycurl.POLL_IN:
            if wanted & pycurl.POLL_IN:
                self._loop.add_reader(fd, self._act, fd, pycurl.CSELECT_IN)
            else:
                self._loop.remove_reader(fd)
        if (wanted ^ before) & pycurl.POLL_OUT:
            if wanted & pycurl.POLL_OUT:
                self._loop.add_writer(fd, self._act, fd, pycurl.CSELECT_OUT)
            else:
                self._loop.remove_writer(fd)
        if wanted:
            self._watched[fd] = wanted

    def _set_timer(self, timeout_ms: int) -> None:
        if self._is_due:
            return
        self._stop_timer()
        if timeout_ms == 0:
            self._is_due = True
            self._timer = self._loop.call_soon(self._timer_fired)
        elif timeout_ms > 0:
            self._timer = self._loop.call_later(timeout_ms / 1000, self._timer_fired)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _timer_fired(self) -> None:
        self._timer, self._is_due = None, False
        self._act(pycurl.SOCKET_TIMEOUT, 0)

    def _act(self, fd: int, event: int) -> None:
        if self.closed:
            return
        self._multi.socket_action(fd, event)
        _, done, failed = self._multi.info_read()
        for curl in done:
            self._end(curl, pycurl.E_OK)
        for curl, code, _text in failed:
            self._end(curl, code)

    def _end(self, curl: pycurl.Curl, code: int) -> None:
        if not self.closed:
            self._multi.remove_handle(curl)
            self._on_done(curl, code)
