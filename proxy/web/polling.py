"""Which of many sockets can be read or written, by the system's own poller.

Each call to `arm` is good for one event. Any thread may arm a socket again, so that a thread that has answered a
request needs no other thread to wait for the next one. `selectors` does not offer that.
"""

import select
import sys
from typing import Protocol


class Poller(Protocol):
    """`arm` says to wait for a socket, once more; a socket that is closed is forgotten by the system itself."""

    def add(self, fd: int) -> None:
        """The socket is new; armed for reading."""

    def arm(self, fd: int, *, write: bool = False) -> None: ...

    def wait(self, timeout_s: float) -> list[int]:
        """Those that are ready now, or at their end."""

    def close(self) -> None: ...


if sys.platform == "linux":

    class _Epoll:
        _READ = select.EPOLLIN | select.EPOLLONESHOT
        _WRITE = select.EPOLLOUT | select.EPOLLONESHOT

        def __init__(self) -> None:
            self._epoll = select.epoll()

        def add(self, fd: int) -> None:
            self._epoll.register(fd, self._READ)

        def arm(self, fd: int, *, write: bool = False) -> None:
            self._epoll.modify(fd, self._WRITE if write else self._READ)

        def wait(self, timeout_s: float) -> list[int]:
            return [fd for fd, _ in self._epoll.poll(timeout_s)]

        def close(self) -> None:
            self._epoll.close()

    def new_poller() -> Poller:
        return _Epoll()

else:  # macOS, for trials

    class _Kqueue:
        def __init__(self) -> None:
            self._kqueue = select.kqueue()

        def add(self, fd: int) -> None:
            self.arm(fd)

        def arm(self, fd: int, *, write: bool = False) -> None:
            kind = select.KQ_FILTER_WRITE if write else select.KQ_FILTER_READ
            self._kqueue.control([select.kevent(fd, kind, select.KQ_EV_ADD | select.KQ_EV_ONESHOT)], 0)

        def wait(self, timeout_s: float) -> list[int]:
            return [event.ident for event in self._kqueue.control(None, 1000, timeout_s)]

        def close(self) -> None:
            self._kqueue.close()

    def new_poller() -> Poller:
        return _Kqueue()
