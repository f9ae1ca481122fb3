"""One HTTP POST through libcurl: whether it has left, what came back, and how far it got."""

import asyncio
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final, Protocol

import pycurl

from proxy.curl import Route, new_handle, parse_head, reason_of
from proxy.domain.transfers import TRANSPORT_CLOSED, FailureKind, Request, Response, TransportFailure

CLOSED: Final = TransportFailure(TRANSPORT_CLOSED, FailureKind.NOT_SENT)

_BODY_LIMIT = 256 * 1024  # Mi Push may name a thousand bad targets
_DAY_S = 86_400
_BUFFER = 16 * 1024  # by default libcurl keeps 16 kB and 64 kB for each transfer
_IDLE_TRANSFERS = 500
_FORBIDDEN = TransportFailure("address not allowed", FailureKind.UNREACHABLE)


@dataclass(frozen=True)
class Limits:
    """Seconds, unless the name says otherwise.

    `push_timeout_s` bounds a request, `connect_timeout_s` a new connection. A connection on which nothing is answered
    for several times the slowest recent answer, and at least `silence_min_s`, is left.
    """

    push_timeout_s: float = 10.0
    connect_timeout_s: float = 5.0
    silence_min_s: float = 2.0
    most_streams: int = 1000

    def __post_init__(self) -> None:
        if self.silence_min_s >= self.push_timeout_s:
            raise ValueError("silence_min_s: must be under push_timeout_s, or a silent connection is never left")


class TransferObserver(Protocol):
    """What a transfer travels on. Called from inside libcurl: neither may raise, nor call libcurl."""

    def socket_opened(self, transfer: "Transfer") -> None: ...

    def request_left(self, at: float) -> None: ...


class Transfer:
    """An easy handle with the buffers of its answer, used for one request after the other.

    `left_at` (monotonic) is when the request left, 0.0 before that.
    """

    __slots__ = (
        "_body", "_forbidden", "_guard", "_head", "_leave_by", "_observer", "_room", "curl", "future", "left_at",
    )  # fmt: skip

    future: asyncio.Future[Response | TransportFailure]

    def __init__(self, route: Route, options: list[tuple[int, object]]) -> None:
        self._body: list[bytes] = []
        self._head: list[bytes] = []
        self.curl = new_handle(route, options)
        self.curl.setopt(pycurl.WRITEFUNCTION, self._take_body)
        self.curl.setopt(pycurl.HEADERFUNCTION, self._head.append)
        self.curl.setopt(pycurl.PREREQFUNCTION, self._leave)
        self.curl.setopt(pycurl.SOCKOPTFUNCTION, self._open_socket)
        self._guard = None if route.proxy else route.guard
        if self._guard is not None:
            self.curl.setopt(pycurl.OPENSOCKETFUNCTION, self._make_socket)

    def load(
        self,
        request: Request,
        leave_by: float,
        observer: TransferObserver,
        future: asyncio.Future[Response | TransportFailure],
    ) -> None:
        self._leave_by, self._observer, self._room, self.future = leave_by, observer, _BODY_LIMIT, future
        self.left_at, self._forbidden = 0.0, False
        self._body.clear()
        self._head.clear()
        curl = self.curl
        curl.setopt(pycurl.URL, request.url)
        curl.setopt(pycurl.HTTPHEADER, request.headers)
        curl.setopt(pycurl.POSTFIELDS, request.body)

    def end(self, result: Response | TransportFailure) -> None:
        """Resolve the future, unless its owner cancelled it."""
        if not self.future.done():
            self.future.set_result(result)

    def result(self, code: int) -> Response | TransportFailure:
        """What libcurl's `code` at the end means. An answer that was cut short is one: its status decides."""
        if self.left_at:
            status = self.curl.getinfo(pycurl.RESPONSE_CODE)
            if status >= 200:
                return Response(status, Headers(self._head.copy()), b"".join(self._body))
        if self._forbidden and code == pycurl.E_COULDNT_CONNECT:
            return _FORBIDDEN
        if code == pycurl.E_OPERATION_TIMEDOUT and not self.left_at:
            return TransportFailure("no connection in time", FailureKind.UNREACHABLE)
        return TransportFailure(reason_of(code), self._kind(code))

    def closed(self) -> TransportFailure:
        """It was under way when we closed the transport."""
        return TransportFailure(TRANSPORT_CLOSED, FailureKind.BROKEN if self.sent else FailureKind.NOT_SENT)

    @property
    def sent(self) -> bool:
        """Whether anything of the request can have left. (A proxy's CONNECT counts in REQUEST_SIZE, so ask both.)"""
        return bool(self.left_at) and self.curl.getinfo(pycurl.REQUEST_SIZE) > 0

    def _kind(self, code: int) -> FailureKind:
        if self.sent:
            return FailureKind.TIMED_OUT if code == pycurl.E_OPERATION_TIMEDOUT else FailureKind.BROKEN
        return FailureKind.NOT_SENT if code == pycurl.E_ABORTED_BY_CALLBACK else FailureKind.UNREACHABLE

    def _leave(self, *_addresses: object) -> int:
        """libcurl asks when the request is next on the wire: also on a reused connection, also after a wait."""
        now = monotonic()
        if now > self._leave_by:
            return pycurl.PREREQFUNC_ABORT
        if not self.left_at:  # libcurl's own repeat of a refused stream asks again
            self.left_at = now
            self._observer.request_left(now)
        return pycurl.PREREQFUNC_OK

    def _make_socket(self, _purpose: int, address: "_Address") -> "_Socket | int":
        """libcurl asks for a socket before it connects to one of the addresses that the name has."""
        family, kind, protocol, (host, *_) = address
        self._forbidden = self._guard is not None and not self._guard.allows(host)
        if self._forbidden:
            return pycurl.SOCKET_BAD
        try:
            return _Socket(socket.socket(family, kind, protocol))
        except OSError:  # no descriptor is free, or the machine has no such family
            return pycurl.SOCKET_BAD

    def _open_socket(self, *_socket: object) -> int:
        self._observer.socket_opened(self)
        return pycurl.SOCKOPT_OK

    def _take_body(self, part: bytes) -> int:
        self._body.append(part[: self._room])
        self._room -= len(part)
        return len(part) if self._room >= 0 else -1


_Address = tuple[int, int, int, tuple[Any, ...]]  # family, type, protocol, and where: a numeric host, a port, ...


class _Socket:
    """What libcurl takes the descriptor of: it is copied, and ours closes with this object."""

    def __init__(self, made: socket.socket) -> None:
        self._made = made

    def fileno(self) -> int:
        return self._made.fileno()

    def __del__(self) -> None:
        self._made.close()


class Headers(Mapping[str, str]):
    """The headers of an answer, parsed once they are looked at: most answers are 200 and need none."""

    __slots__ = ("_lines", "_parsed")

    def __init__(self, lines: list[bytes]) -> None:
        self._lines = lines
        self._parsed: dict[str, str] | None = None

    def __getitem__(self, name: str) -> str:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def _all(self) -> dict[str, str]:
        if self._parsed is None:
            self._parsed = parse_head(self._lines)
        return self._parsed


class TransferPool:
    """Transfers that are not in use; making one costs more than a push."""

    def __init__(
        self, route: Route, limits: Limits, http_version: int, options: Sequence[tuple[int, object]] = ()
    ) -> None:
        self._route = route
        self._options: list[tuple[int, object]] = [
            (pycurl.POST, 1),
            (pycurl.HTTP_VERSION, http_version),
            (pycurl.PIPEWAIT, 1),
            (pycurl.CONNECTTIMEOUT_MS, int(limits.connect_timeout_s * 1000)),
            (pycurl.TIMEOUT_MS, int(limits.push_timeout_s * 1000)),
            (pycurl.BUFFERSIZE, _BUFFER),
            (pycurl.UPLOAD_BUFFERSIZE, _BUFFER),
            (pycurl.MAXAGE_CONN, _DAY_S),  # the default closes after 118 s of idleness; Apple wants connections kept
            *options,
        ]
        self._idle: list[Transfer] = []

    def take(self) -> Transfer:
        return self._idle.pop() if self._idle else Transfer(self._route, self._options)

    def give_back(self, transfer: Transfer) -> None:
        del transfer.future
        if len(self._idle) < _IDLE_TRANSFERS:
            self._idle.append(transfer)
