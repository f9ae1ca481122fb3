"""MIMC's TokenService over libcurl: one easy handle, and so one kept connection, per thread and app.

One call of ours reaches the service at most twice. libcurl repeats a request by itself when a kept connection turns
out to be dead; that is the one repeat. Ours is only for a connection that never came about: nothing was sent.
Source: MIMC operation manual, POST /api/account/token.
"""

import json
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import pycurl

from proxy.curl import Route, new_handle, parse_head, reason_of
from proxy.domain.transfers import FailureKind, Response, TransportFailure
from proxy.mimc.echo import Echo, EchoGuard
from proxy.settings import AppSettings, TokenSettings

TIMED_OUT = reason_of(pycurl.E_OPERATION_TIMEDOUT)
NOT_HTTP = "not HTTP"
REPEATS_US = "answer repeats our credentials"
ENCODED = "answer in an encoding that we did not ask for"

_MOST = 256 * 1024
_LEAST_TRY_S = 0.05
_PATH = "/api/account/token"
_FIELD_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")  # RFC 9110, 5.5
_READABLE = {"content-encoding": ("", "identity"), "transfer-encoding": ("", "identity", "chunked")}
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


def unnoticed(app: str, echo: Echo) -> None:
    """No listener."""


class TokenClient:
    """The TokenService of every configured app. Safe to share between threads.

    `on_echo` is called with the section, and where its key or secret was, for each answer that repeats them.
    """

    def __init__(
        self,
        apps: Mapping[str, AppSettings],
        limits: TokenSettings,
        on_echo: Callable[[str, Echo], None] = unnoticed,
    ) -> None:
        self._apps = apps
        self._guards = {name: EchoGuard(_secrets_of(app)) for name, app in apps.items()}
        self._refuses = limits.echo_guard == "refuse"
        self._on_echo = on_echo
        self._timeout_s = limits.timeout.total_seconds()
        self._connect_timeout_s = limits.connect_timeout.total_seconds()
        self._mine = threading.local()

    def issue(self, app: str, account: str) -> Response | TransportFailure:
        """Ask for the token of `account`. `app` names a section. Ends within the limits' `timeout`.

        The answer is whatever HTTP answer came, but for one that repeats our appKey or appSecret, as error pages of
        gateways repeat requests: the client would read it. The user's own security key is passed on whatever it
        holds. The reason of a TransportFailure is of a closed set of words.
        """
        answer = self._ask(app, _request_body(self._apps[app], account))
        if isinstance(answer, TransportFailure):
            return answer
        if not all(map(_is_readable, answer.head)):
            return TransportFailure(ENCODED, FailureKind.WITHHELD)
        echo = self._guards[app].find(answer.head, answer.body)
        if echo is not None:
            self._on_echo(app, echo)
        if echo is Echo.ANSWER and self._refuses:
            return TransportFailure(REPEATS_US, FailureKind.WITHHELD)
        return Response(answer.status, answer.headers, answer.body)

    def _ask(self, app: str, body: bytes) -> "_Answer | TransportFailure":
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


@dataclass(frozen=True)
class _Answer:
    """What came, with all lines of its headers and trailers."""

    status: int
    head: tuple[bytes, ...] = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def headers(self) -> dict[str, str]:
        """Those that may be passed on."""
        return {name: value for name, value in parse_head(self.head).items() if _FIELD_VALUE.fullmatch(value)}


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

    def post(self, body: bytes, timeout_s: float, connect_timeout_s: float) -> _Answer | TransportFailure:
        self.never_connected = False
        curl = self._curl
        curl.setopt(pycurl.POSTFIELDS, body)
        curl.setopt(pycurl.TIMEOUT_MS, max(1, round(timeout_s * 1000)))
        curl.setopt(pycurl.CONNECTTIMEOUT_MS, max(1, round(connect_timeout_s * 1000)))
        try:
            curl.perform()
            return _Answer(curl.getinfo(pycurl.RESPONSE_CODE), tuple(self._head), b"".join(self._body))
        except pycurl.error as error:
            return self._failure(int(error.args[0]))
        finally:
            self._forget()

    def _failure(self, code: int) -> TransportFailure:
        # counts libcurl's own repeats too, so a repeat of ours cannot become a third
        sent = self._curl.getinfo(pycurl.REQUEST_SIZE) > 0
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
        if self._size > _MOST:
            return -1
        self._body.append(chunk)
        return len(chunk)


def _request_body(app: AppSettings, account: str) -> bytes:
    region = {"regionKey": app.region_key} if app.region_key else {}
    return json.dumps(
        {
            "appId": app.app_id,
            "appKey": app.app_key.get_secret_value(),
            "appSecret": app.app_secret.get_secret_value(),
            "appAccount": account,
            **region,
        }
    ).encode()


def _secrets_of(app: AppSettings) -> Iterable[str]:
    return app.app_key.get_secret_value(), app.app_secret.get_secret_value()


def _is_readable(line: bytes) -> bool:
    """Does this header leave the body as it is? Another encoding could hide what is in it."""
    if b"-encoding" not in line.lower():
        return True
    name, _, value = line.decode("latin-1").partition(":")
    allowed = _READABLE.get(name.strip().lower())
    return allowed is None or value.strip().lower() in allowed


def _handle(app: AppSettings) -> pycurl.Curl:
    return new_handle(
        Route(app.ca_file, app.proxy),
        [
            (pycurl.URL, app.base_url + _PATH),
            (pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS),
            (pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1),
            (pycurl.POST, 1),
            (
                pycurl.HTTPHEADER,
                [
                    "Content-Type: application/json",
                    "Accept:",
                    "Accept-Encoding: identity",
                    "Expect:",
                    "User-Agent: mimc-app-proxy",
                ],
            ),
        ],
    )
