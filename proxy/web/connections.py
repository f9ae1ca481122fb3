"""One connection of a caller, and the listener it came in through."""

import socket
from enum import Enum, auto
from typing import Any

import structlog

from proxy.web.collecting import Collector
from proxy.web.crowd import Crowd
from proxy.web.shares import Share

log = structlog.get_logger()


class State(Enum):
    COLLECTING = auto()
    ANSWERING = auto()  # in the hands of a thread; the poller leaves it alone
    WRITING = auto()  # the caller does not read its answer fast enough
    LINGERING = auto()  # answered; what still comes is not read as a request
    GONE = auto()


class Door:
    """One listener and what came in through it."""

    def __init__(self, listener: Any, *, is_operators: bool, crowd: "Crowd[Connection]") -> None:
        self.listener, self.is_operators, self.crowd = listener, is_operators, crowd
        self.address = listener.getsockname()
        self.fd: int = listener.fileno()
        self.is_open = True


class Connection:
    __slots__ = (
        "address",
        "began",
        "client",
        "closes",
        "collector",
        "deadline",
        "discarded",
        "door",
        "fd",
        "held",
        "is_kept",
        "request",
        "share",
        "sock",
        "state",
        "unsent",
    )  # fmt: skip

    def __init__(self, sock: socket.socket, client: Any, address: str | None, door: Door, deadline: float) -> None:
        self.sock, self.fd, self.client, self.address, self.door = sock, sock.fileno(), client, address, door
        self.state = State.COLLECTING
        self.deadline = deadline
        self.is_kept = False  # an earlier request on it was answered
        self.began: float | None = None  # when the first byte of the request came
        self.held = 0  # bytes, also while a thread answers
        self.unsent: memoryview | bytes = b""
        self.discarded = 0
        self.closes = False
        self.share = Share.CALLS
        self.collector: Collector
        self.request: Any = None

    def send(self) -> None:
        """Sends what can be sent without waiting; the new state says what is next."""
        try:
            sent = self.sock.send(self.unsent)
            if sent < len(self.unsent):
                self.unsent, self.state = memoryview(self.unsent)[sent:], State.WRITING
                return
            self.unsent = b""
            self.state = State.COLLECTING
            if self.closes:
                self.state = State.LINGERING
                self.sock.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            self.state = State.WRITING
        except OSError as error:
            log.debug("the caller has gone", error=type(error).__name__)
            self.state = State.GONE
