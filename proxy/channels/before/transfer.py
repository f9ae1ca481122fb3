"""One HTTP POST through libcurl: its options, what came back of it, and whether it can have left at all.

Every option is given: nothing is left to the environment (proxies, CA bundles), to a .netrc or to defaults that move.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

import certifi
import pycurl

from proxy.domain.transfers import TRANSPORT_CLOSED, FailureKind, Request, Response, TransportFailure

LEASE_LOST: Final = "lease lost"
CLOSED: Final = TRANSPORT_CLOSED

# codes that pycurl has no name for
HTTP2_STREAM: Final = 92
PROXY: Final = 97

_BODY_LIMIT = 16 * 1024
_LOOPBACK = "localhost,127.0.0.0/8,::1"
_PLAIN_LOOPBACK = ("http://127.", "http://localhost:", "http://localhost/", "http://[::1]")
_DAY_S = 86_400
_UNBOUNDED = 0

# libcurl's own texts name hosts and paths, and an APNs path is a push token
_REASONS: dict[int, str] = {
    pycurl.E_UNSUPPORTED_PROTOCOL: "address of a forbidden kind",
    pycurl.E_URL_MALFORMAT: "malformed address",
    pycurl.E_COULDNT_RESOLVE_PROXY: "proxy's name not resolved",
    pycurl.E_COULDNT_RESOLVE_HOST: "host name not resolved",
    pycurl.E_COULDNT_CONNECT: "connection refused",
    pycurl.E_HTTP2: "HTTP/2 connection broke",
    pycurl.E_PARTIAL_FILE: "answer cut short",
    pycurl.E_OPERATION_TIMEDOUT: "no answer in time",
    pycurl.E_SSL_CONNECT_ERROR: "TLS handshake failed",
    pycurl.E_ABORTED_BY_CALLBACK: LEASE_LOST,
    pycurl.E_GOT_NOTHING: "connection closed without an answer",
    pycurl.E_SEND_ERROR: "connection broke while sending",
    pycurl.E_RECV_ERROR: "connection broke while receiving",
    pycurl.E_PEER_FAILED_VERIFICATION: "certificate not trusted",
    pycurl.E_SSL_CACERT_BADFILE: "CA file unusable",
    HTTP2_STREAM: "stream reset",
    PROXY: "proxy refused",
}
_BROKEN = frozenset({pycurl.E_HTTP2, pycurl.E_GOT_NOTHING, pycurl.E_SEND_ERROR, pycurl.E_RECV_ERROR})


def always() -> bool:
    return True


def ignore(_event: str) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Route:
    """How a provider is reached: whom we trust, and through which proxy (loopback never goes through it).

    Without a `ca_file` the roots are certifi's, which `requests` trusts too.
    """

    ca_file: Path | None = None
    proxy: str | None = field(default=None, repr=False)  # may hold a password

    @property
    def trusted(self) -> Path:
        return self.ca_file or Path(certifi.where())


@dataclass(frozen=True)
class Limits:
    """Seconds, unless the name says otherwise.

    `push_timeout_s` bounds a request inside libcurl, `wait_s` what it waits in front of it; `silence_min_s` is how long
    nobody may answer before a connection is left, `longest_pause_s` the most between two tries to get through.
    """

    push_timeout_s: float = 10.0
    connect_timeout_s: float = 5.0
    wait_s: float = 10.0
    silence_min_s: float = 2.0
    longest_pause_s: float = 5.0
    most_streams: int = 1000

    def __post_init__(self) -> None:
        if self.silence_min_s >= self.push_timeout_s:
            raise ValueError("silence_min_s: must be under push_timeout_s, or a silent connection is never left")


class TransferObserver(Protocol):
    """What a transfer travels on. Called from inside libcurl: neither may raise, nor call libcurl."""

    def socket_opened(self, transfer: "Transfer") -> None: ...

    def request_leaves(self) -> None: ...


class Transfer:
    """An easy handle with the buffers of its answer, used for one request after the other."""

    __slots__ = ("_body", "_carrier", "_head", "_may_send", "_room", "alone", "curl", "departed", "recalled")

    def __init__(self, options: list[tuple[int, object]]) -> None:
        self._body: list[bytes] = []
        self._head: list[bytes] = []
        self.curl = pycurl.Curl()
        for option, value in options:
            self.curl.setopt(option, value)
        self.curl.unsetopt(pycurl.CAPATH)  # a distribution's libcurl would trust its folder beside the CA file
        self.curl.setopt(pycurl.WRITEFUNCTION, self._take_body)
        self.curl.setopt(pycurl.HEADERFUNCTION, self._head.append)
        self.curl.setopt(pycurl.PREREQFUNCTION, self._leave)
        self.curl.setopt(pycurl.SOCKOPTFUNCTION, self._open_socket)

    def load(
        self, request: Request, may_send: Callable[[], bool], carrier: TransferObserver, *, alone: bool = False
    ) -> None:
        """Take on a request. `alone` says that it is the one that finds out whether a connection works."""
        self._may_send, self._carrier, self._room = may_send, carrier, _BODY_LIMIT
        self.departed, self.recalled, self.alone = False, False, alone
        self._body.clear()
        self._head.clear()
        self.curl.setopt(pycurl.URL, request.url)
        self.curl.setopt(pycurl.HTTPHEADER, request.headers)
        self.curl.setopt(pycurl.POSTFIELDS, request.body)

    @property
    def sent(self) -> bool:
        """Whether anything of the request can have left. (A proxy's CONNECT counts in REQUEST_SIZE, so ask both.)"""
        return self.departed and self.curl.getinfo(pycurl.REQUEST_SIZE) > 0

    def answer(self) -> Response | None:
        """What came back. An answer that was cut short afterwards is one: its status decides."""
        status = self.curl.getinfo(pycurl.RESPONSE_CODE) if self.departed else 0
        return Response(status, _parse_head(self._head), b"".join(self._body)) if status >= 200 else None

    def no_answer(self, code: int) -> TransportFailure:
        if not self.sent:
            kind = FailureKind.NOT_SENT
        else:
            kind = FailureKind.BROKEN if code in _BROKEN else FailureKind.TIMED_OUT
        return TransportFailure(_REASONS.get(code, f"curl error {code}"), kind)

    def closed(self) -> TransportFailure:
        return TransportFailure(CLOSED, FailureKind.TIMED_OUT if self.sent else FailureKind.NOT_SENT)

    def _leave(self, *_addresses: object) -> int:
        """libcurl asks when the request is next on the wire: also on a reused connection, also after a wait."""
        if not self._may_send():
            return pycurl.PREREQFUNC_ABORT
        if not self.departed:  # libcurl's own repeat of a refused stream asks again
            self.departed = True
            self._carrier.request_leaves()
        return pycurl.PREREQFUNC_OK

    def _open_socket(self, *_socket: object) -> int:
        self._carrier.socket_opened(self)
        return pycurl.SOCKOPT_OK

    def _take_body(self, part: bytes) -> int:
        self._body.append(part[: self._room])
        self._room -= len(part)
        return len(part) if self._room >= 0 else -1


class TransferPool:
    """Transfers that are not in use; making one costs more than a push."""

    def __init__(self, options: list[tuple[int, object]], most: int) -> None:
        self._options, self._most = options, most
        self._idle: list[Transfer] = []

    def take(self) -> Transfer:
        return self._idle.pop() if self._idle else Transfer(self._options)

    def give_back(self, transfer: Transfer) -> None:
        """Not for a cancelled one: libcurl may not have let go of it yet."""
        if len(self._idle) < self._most:
            self._idle.append(transfer)


def curl_options(route: Route, limits: Limits, http_version: int) -> list[tuple[int, object]]:
    """The options that never change between two requests."""
    ca_file = str(route.trusted)
    return [
        (pycurl.POST, 1),
        (pycurl.HTTP_VERSION, http_version),
        (pycurl.PIPEWAIT, 1),
        (pycurl.PROTOCOLS, pycurl.PROTO_HTTPS),
        (pycurl.FOLLOWLOCATION, 0),
        (pycurl.NETRC, pycurl.NETRC_IGNORED),
        (pycurl.NOSIGNAL, 1),
        (pycurl.SSL_VERIFYPEER, 1),
        (pycurl.SSL_VERIFYHOST, 2),
        (pycurl.SSLVERSION, pycurl.SSLVERSION_TLSv1_2),
        (pycurl.CAINFO, ca_file),
        (pycurl.PROXY_CAINFO, ca_file),
        (pycurl.PROXY, route.proxy or ""),
        (pycurl.NOPROXY, _LOOPBACK if route.proxy else "*"),
        (pycurl.CONNECTTIMEOUT_MS, int(limits.connect_timeout_s * 1000)),
        (pycurl.TIMEOUT_MS, int(limits.push_timeout_s * 1000)),
        (pycurl.MAXAGE_CONN, _DAY_S),  # the default closes after 118 s of idleness; Apple wants connections kept
        (pycurl.MAXLIFETIME_CONN, _UNBOUNDED),
        (pycurl.TCP_KEEPALIVE, 1),
        (pycurl.TCP_KEEPIDLE, 60),
        (pycurl.TCP_KEEPINTVL, 20),
    ]


def is_plain_loopback(url: str) -> bool:
    """An http:// address of this machine, as an emulator has."""
    return url.startswith(_PLAIN_LOOPBACK)


def _parse_head(lines: list[bytes]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if line.startswith(b"HTTP/"):  # what a proxy or an interim answer said is no part of the final one
            headers.clear()
        elif colon:
            headers[name.decode("latin-1").lower()] = value.strip().decode("latin-1")
    return headers
