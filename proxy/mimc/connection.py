"""An HTTP exchange with MIMC over libcurl: one easy handle, and so one kept connection, per thread and app.

libcurl repeats a request by itself when a kept connection turns out to be dead. Ours is only for a connection that
never came about: nothing was sent.
"""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import pycurl

from proxy.curl import Route, new_handle, reason_of
from proxy.domain.transfers import FailureKind, TransportFailure
from proxy.settings import AppSettings

TIMED_OUT = reason_of(pycurl.E_OPERATION_TIMEDOUT)
NOT_HTTP = "not HTTP"
ENCODED = "answer in an encoding that we did not ask for"
HEADERS = ("Accept-Encoding: identity", "Expect:", "User-Agent: mimc-app-proxy")

_LEAST_TRY_S = 0.05
_CONNECT_ERRORS = (
    pycurl.E_COULDNT_RESOLVE_HOST,
    pycurl.E_COULDNT_RESOLVE_PROXY,
    pycurl.E_COULDNT_CONNECT,
    pycurl.E_SSL_CONNECT_ERROR,
    pycurl.E_OPERATION_TIMEDOUT,
)
_WITHHELD = {  # an answer came, which libcurl or we do not read to its end
    pycurl.E_BAD_CONTENT_ENCODING: ENCODED,
    pycurl.E_WRITE_ERROR: reason_of(pycurl.E_WRITE_ERROR),
}


@dataclass(frozen=True)
class Answer:
    """What came, with all lines of its headers and trailers."""

    status: int
    head: tuple[bytes, ...] = field(repr=False)
    body: bytes = field(repr=False)


class Connection:
    """An easy handle with its connection. `never_connected` is about the last exchange. An answer has `most` bytes."""

    def __init__(self, app: AppSettings, most: int, options: Iterable[tuple[int, object]]) -> None:
        self.never_connected = False
        self._most = most
        self._head: list[bytes] = []
        self._body: list[bytes] = []
        self._size = 0
        self.curl = new_handle(
            Route(app.ca_file, app.proxy),
            [
                (pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS),
                (pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1),
                *options,
            ],
        )
        self.curl.setopt(pycurl.HEADERFUNCTION, self._head.append)
        self.curl.setopt(pycurl.WRITEFUNCTION, self._take_body)

    def exchange(self, prepare: Callable[[pycurl.Curl], None], limits: "Limits") -> Answer | TransportFailure:
        """`prepare` sets what is to be sent. Ends within the limits' `timeout_s`."""
        deadline = time.monotonic() + limits.timeout_s
        result = self._perform(prepare, limits.timeout_s, limits.connect_timeout_s)
        left = deadline - time.monotonic()
        if isinstance(result, TransportFailure) and self.never_connected and left >= _LEAST_TRY_S:
            result = self._perform(prepare, left, min(left, limits.connect_timeout_s))
        return result

    def _perform(
        self, prepare: Callable[[pycurl.Curl], None], timeout_s: float, connect_timeout_s: float
    ) -> Answer | TransportFailure:
        self.never_connected = False
        curl = self.curl
        prepare(curl)
        curl.setopt(pycurl.TIMEOUT_MS, max(1, round(timeout_s * 1000)))
        curl.setopt(pycurl.CONNECTTIMEOUT_MS, max(1, round(connect_timeout_s * 1000)))
        try:
            curl.perform()
            return Answer(curl.getinfo(pycurl.RESPONSE_CODE), tuple(self._head), b"".join(self._body))
        except pycurl.error as error:
            return self._failure(int(error.args[0]))
        finally:
            self._forget()

    def _failure(self, code: int) -> TransportFailure:
        # counts libcurl's own repeats too, so a repeat of ours cannot become a third
        sent = self.curl.getinfo(pycurl.REQUEST_SIZE) > 0
        self.never_connected = not sent and code in _CONNECT_ERRORS
        if code in _WITHHELD:
            return TransportFailure(_WITHHELD[code], FailureKind.WITHHELD)
        no_status_line = sent and code == pycurl.E_UNSUPPORTED_PROTOCOL  # libcurl takes such an answer for HTTP/0.9
        reason = NOT_HTTP if no_status_line else reason_of(code)
        if not sent:
            return TransportFailure(reason, FailureKind.UNREACHABLE)
        return TransportFailure(reason, FailureKind.TIMED_OUT if reason == TIMED_OUT else FailureKind.BROKEN)

    def _forget(self) -> None:
        self._head.clear()
        self._body.clear()
        self._size = 0

    def _take_body(self, chunk: bytes) -> int:
        self._size += len(chunk)
        if self._size > self._most:
            return -1
        self._body.append(chunk)
        return len(chunk)


@dataclass(frozen=True)
class Limits:
    """Of one exchange, in seconds."""

    timeout_s: float
    connect_timeout_s: float


T = TypeVar("T")


class PerThread(Generic[T]):
    """One of each for every thread and app, made when it is first asked for."""

    def __init__(self, make: Callable[[str], T]) -> None:
        self._make = make
        self._mine = threading.local()

    def of(self, app: str) -> T:
        found: dict[str, T] | None = getattr(self._mine, "found", None)
        if found is None:
            found = self._mine.found = {}
        if app not in found:
            found[app] = self._make(app)
        return found[app]
