"""gunicorn's worker, made to answer in our envelope, to keep requests out of its log and not to wait for ever.

gunicorn answers what it cannot parse by itself, with a page that quotes the request, and logs paths with failures:
a mistyped callback URL would put its secret there. Its threads read without a time limit: as many callers as there
are threads, each silent in the middle of a request, would end the service.
"""

import json
import logging
import socket
import struct
from http import HTTPStatus
from typing import Any

import structlog
from gunicorn import util  # type: ignore[import-untyped]  # gunicorn has no types
from gunicorn.http import errors  # type: ignore[import-untyped]
from gunicorn.workers.gthread import ThreadWorker  # type: ignore[import-untyped]

from proxy.web.envelope import SECURITY_HEADERS, trace_without_values

log = structlog.get_logger()

_PATIENCE_S = 10.0
_STATUS = {
    errors.LimitRequestLine: 414,
    errors.ExpectationFailed: 417,
    errors.LimitRequestHeaders: 431,
    errors.UnsupportedTransferCoding: 501,
}


class Worker(ThreadWorker):  # type: ignore[misc]
    """A thread worker with our error pages and a limit to its patience."""

    def init_process(self) -> None:
        for listener in self.sockets:
            limit_patience(listener.sock, _PATIENCE_S)
        logging.getLogger("gunicorn.error").addFilter(_is_no_stall)
        super().init_process()

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:  # noqa: ARG002
        status = status_of(exc)
        if status == 500:
            log.error("a request failed in the server", error=type(exc).__name__, trace=trace_without_values(exc))
        else:
            log.info("request", method="-", route="-", status=status, refused=type(exc).__name__)
        try:
            util.write_nonblock(client, page(status))
        except OSError as error:
            log.debug("the caller has gone", error=type(error).__name__)


def limit_patience(listener: socket.socket, seconds: float) -> None:
    """Connections accepted from now on give up on one read or write after this time, with BlockingIOError.

    By the kernel: a socket inherits it from its listener, and gunicorn resets every limit that Python sets.
    """
    limit = struct.pack("@ll", int(seconds), int(seconds % 1 * 1_000_000))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)


def _is_no_stall(record: logging.LogRecord) -> bool:
    """gunicorn logs a silent caller as an error of ours, with a traceback each time."""
    return not (record.exc_info and isinstance(record.exc_info[1], BlockingIOError))


def status_of(exc: BaseException) -> int:
    """What the caller did wrong, or 500."""
    for kind, status in _STATUS.items():
        if isinstance(exc, kind):
            return status
    ours = errors.InvalidResponseHeader | errors.InvalidResponseHeaderName | errors.ConfigurationProblem
    return 400 if isinstance(exc, errors.ParseException) and not isinstance(exc, ours) else 500


def page(status: int) -> bytes:
    """A whole HTTP/1.1 answer; the connection ends with it."""
    phrase = HTTPStatus(status).phrase
    body = json.dumps({"code": status, "message": phrase.lower(), "data": None}, separators=(",", ":")) + "\n"
    head = (
        f"HTTP/1.1 {status} {phrase}\r\nConnection: close\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n"
    )
    head += "".join(f"{name}: {value}\r\n" for name, value in SECURITY_HEADERS) + "\r\n"
    return (head + body).encode()
