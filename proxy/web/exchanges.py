"""One request in the hands of a thread, and its answer."""

from collections.abc import Iterable
from typing import Any

import structlog

from proxy.metrics import connections_ended_total
from proxy.web.answers import Out
from proxy.web.connections import Connection
from proxy.web.envelope import trace_without_values
from proxy.web.pages import page, status_of

log = structlog.get_logger()


class Exchange:
    """`content` None: there is nothing left to write."""

    __slots__ = ("connection", "content", "out", "response")

    def __init__(self, connection: Connection) -> None:
        self.connection, self.out = connection, Out(connection.sock)
        self.response: Any = None
        self.content: Iterable[bytes] | None = None

    def write(self) -> None:
        """All of the application's content, which it may make only now."""
        content = self.content or ()
        try:
            for piece in content:
                self.response.write(piece)
            self.response.close()
        finally:
            if hasattr(content, "close"):
                content.close()
        self.connection.closes = bool(self.response.should_close())

    def fail(self, error: BaseException) -> None:
        status = status_of_fault(error)
        if status != 500:
            log_refused(status, type(error).__name__)
        self.connection.closes, self.out.pieces, self.content = True, [page(status)], None


def status_of_fault(error: BaseException) -> int:
    """What the caller did wrong, or 500, which is logged with its place."""
    status = status_of(error)
    if status == 500:
        log.error("a request failed in the server", error=type(error).__name__, trace=trace_without_values(error))
    return status


def log_fault(error: Exception) -> None:
    log.error("a connection failed in the server", error=type(error).__name__, trace=trace_without_values(error))
    connections_ended_total.labels("fault").inc()


def log_refused(status: int, reason: str) -> None:
    """The line of a request that no application has seen."""
    log.info("request", method="-", route="-", status=status, refused=reason)
