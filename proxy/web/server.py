"""gunicorn's worker, made to answer in our envelope and to keep requests out of its log.

gunicorn answers what it cannot parse by itself, with a page that quotes the request, and logs paths with failures:
a mistyped callback URL would put its secret there.
"""

import json
from http import HTTPStatus
from typing import Any

import structlog
from gunicorn import util  # type: ignore[import-untyped]  # gunicorn has no types
from gunicorn.http import errors  # type: ignore[import-untyped]
from gunicorn.workers.gthread import ThreadWorker  # type: ignore[import-untyped]

from proxy.web.envelope import trace_without_values

log = structlog.get_logger()

_STATUS = {
    errors.LimitRequestLine: 414,
    errors.ExpectationFailed: 417,
    errors.LimitRequestHeaders: 431,
    errors.UnsupportedTransferCoding: 501,
}


class Worker(ThreadWorker):  # type: ignore[misc]
    """A thread worker with our error pages."""

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
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return (head + body).encode()
