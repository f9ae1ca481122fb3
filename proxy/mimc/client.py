"""MIMC's TokenService over libcurl: one easy handle, and so one kept connection, per thread and app.

One call of ours reaches the service at most twice. libcurl repeats a request by itself when a kept connection turns
out to be dead; that is the one repeat. Ours is only for a connection that never came about: nothing was sent.
Source: MIMC operation manual, POST /api/account/token.
"""

import json
import re
import threading
import time
from collections.abc import Mapping

import pycurl

from proxy.curl import Route, new_handle, parse_head, reason_of
from proxy.domain.transfers import FailureKind, Response, TransportFailure
from proxy.settings import AppSettings, TokenSettings

TIMED_OUT = reason_of(pycurl.E_OPERATION_TIMEDOUT)
NOT_HTTP = "not HTTP"
REPEATS_US = "answer repeats our credentials"

_MOST = 256 * 1024
_LEAST_TRY_S = 0.05
_PATH = "/api/account/token"
_FIELD_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")  # RFC 9110, 5.5
_CONNECT_ERRORS = (
    pycurl.E_COULDNT_RESOLVE_HOST,
    pycurl.E_COULDNT_RESOLVE_PROXY,
    pycurl.E_COULDNT_CONNECT,
    pycurl.E_SSL_CONNECT_ERROR,
    pycurl.E_OPERATION_TIMEDOUT,
)


class TokenClient:
    """The TokenService of every configured app. Safe to share between threads."""

    def __init__(self, apps: Mapping[str, AppSettings], limits: TokenSettings) -> None:
        self._apps = apps
        self._timeout_s = limits.timeout.total_seconds()
        self._connect_timeout_s = limits.connect_timeout.total_seconds()
        self._mine = threading.local()

    def issue(self, app: str, account: str) -> Response | TransportFailure:
        """Ask for the token of `account`. `app` names a section. Ends within the limits' `timeout`.

        The answer is whatever HTTP answer came, but for one that repeats our appSecret, as error pages of gateways
        repeat requests: the client would read it. The reason of a TransportFailure is of a closed set of words.
        """
        section = self._apps[app]
        result = self._ask(app, _request_body(section, account))
        if isinstance(result, Response) and _repeats(section.app_secret.get_secret_value(), result.body):
            return TransportFailure(REPEATS_US, FailureKind.TIMED_OUT)
        return result

    def _ask(self, app: str, body: bytes) -> Response | TransportFailure:
        deadline = time.monotonic() + self._timeout_s
        connection = self._connection(app)
        result = connection.post(body, self._timeout_s, self._connect_timeout_s)
        left = deadline - time.monotonic()
        if isinstance(result, TransportFailure) and connection.never_connected and left >= _LEAST_TRY_S:
            result = connection.post(body, left, min(left, self._connect_timeout_s))
        return result

    def _connection(self, app: str) -> "_TokenConnection":
        connections: dict[str, _TokenConnection] | None = getattr(self._mine, "connections", None)
        if connections is None:
            connections = self._mine.connections = {}
        if app not in connections:
            connections[app] = _TokenConnection(self._apps[app])
        return connections[app]


class _TokenConnection:
    """An easy handle with its connection. `never_connected` is about the last post."""

    def __init__(self, app: AppSettings) -> None:
        self.never_connected = False
        self._head: list[bytes] = []
        self._body: list[bytes] = []
        self._size = 0
        self._curl = _handle(app)
        self._curl.setopt(pycurl.HEADERFUNCTION, self._head.append)
        self._curl.setopt(pycurl.WRITEFUNCTION, self._take_body)

    def post(self, body: bytes, timeout_s: float, connect_timeout_s: float) -> Response | TransportFailure:
        self.never_connected = False
        curl = self._curl
        curl.setopt(pycurl.POSTFIELDS, body)
        curl.setopt(pycurl.TIMEOUT_MS, max(1, round(timeout_s * 1000)))
        curl.setopt(pycurl.CONNECTTIMEOUT_MS, max(1, round(connect_timeout_s * 1000)))
        try:
            curl.perform()
            return Response(curl.getinfo(pycurl.RESPONSE_CODE), self._headers(), b"".join(self._body))
        except pycurl.error as error:
            return self._failure(int(error.args[0]))
        finally:
            self._forget()

    def _failure(self, code: int) -> TransportFailure:
        # counts libcurl's own repeats too, so a repeat of ours cannot become a third
        sent = self._curl.getinfo(pycurl.REQUEST_SIZE) > 0
        self.never_connected = not sent and code in _CONNECT_ERRORS
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
        if self._size > _MOST:
            return -1
        self._body.append(chunk)
        return len(chunk)

    def _headers(self) -> dict[str, str]:
        """Those that may be passed on."""
        return {name: value for name, value in parse_head(self._head).items() if _FIELD_VALUE.fullmatch(value)}


def _request_body(app: AppSettings, account: str) -> bytes:
    return json.dumps(
        {
            "appId": app.app_id,
            "appKey": app.app_key.get_secret_value(),
            "appSecret": app.app_secret.get_secret_value(),
            "appAccount": account,
        }
    ).encode()


def _repeats(secret: str, body: bytes) -> bool:
    return secret.encode() in body.replace(b"\\/", b"/")  # JSON may write a slash either way


def _handle(app: AppSettings) -> pycurl.Curl:
    return new_handle(
        Route(app.ca_file, app.proxy),
        [
            (pycurl.URL, app.base_url + _PATH),
            (pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS),
            (pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1),
            (pycurl.POST, 1),
            (pycurl.HTTPHEADER, ["Content-Type: application/json", "Accept:", "Expect:", "User-Agent: mimc-app-proxy"]),
        ],
    )
