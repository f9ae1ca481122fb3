"""One HTTP/2 connection to a provider, and its successors inside libcurl after GOAWAY, reset or idleness."""

import asyncio
from collections.abc import Callable, Iterable
from time import monotonic

import pycurl

from proxy.channels.multi import Multi
from proxy.channels.transfer import Transfer
from proxy.domain.transfers import FailureKind, Response, TransportFailure

_RECALLED = TransportFailure("no free stream", FailureKind.NOT_SENT)
_STREAM_WAIT_S = 0.1  # longer than a round trip mostly is, so that a raised stream limit has arrived
_GROWTH_S = 1.0
# the connection failed and not the request alone
_CONNECTION_FAILED = frozenset({
    pycurl.E_HTTP2, pycurl.E_GOT_NOTHING, pycurl.E_SEND_ERROR, pycurl.E_RECV_ERROR,
})  # fmt: skip


class Connection:
    """Cold until its first 200: one request at a time. Then as many as the server has streams, `most_streams` at most.

    libcurl does not show the server's stream limit. What has not left libcurl after a moment comes back as NOT_SENT,
    and the limit is taken to be what is on the wire; from then on it doubles each second until that happens again.

    `in_flight` is what libcurl holds, `on_wire` how many of them have left and are not answered. `heard_at` (monotonic)
    is when an answer last arrived, or when the first request left after which none did.
    """

    def __init__(
        self,
        most_streams: int,
        on_end: Callable[["Connection", Transfer, Response | TransportFailure], None],
        on_event: Callable[[str], None],
    ) -> None:
        self._most_streams, self._on_end, self._on_event = most_streams, on_end, on_event
        self._opener: Transfer | None = None  # the request that finds out whether a cold connection works
        self._limit, self._grows_at = most_streams, 0.0
        self._stuck: Transfer | None = None
        self._stuck_since = 0.0
        self.warm = False
        self.in_flight: dict[pycurl.Curl, Transfer] = {}
        self.on_wire = 0
        self.heard_at = 0.0
        self.multi = Multi(self._done)
        self.multi.setopt(pycurl.M_PIPELINING, pycurl.PIPE_MULTIPLEX)
        self.multi.setopt(pycurl.M_MAX_HOST_CONNECTIONS, 1)
        self.multi.setopt(pycurl.M_MAX_CONCURRENT_STREAMS, 1)

    @property
    def room(self) -> int:
        """How many more requests may leave now."""
        if self.warm:
            return self._limit - len(self.in_flight)
        return 0 if self._opener else 1

    def start(self, transfer: Transfer) -> None:
        """Hand a loaded transfer to libcurl."""
        if not self.warm:
            self._opener = transfer
        self.in_flight[transfer.curl] = transfer
        self.multi.add(transfer.curl)

    def recall(self, transfers: Iterable[Transfer], failure: TransportFailure = _RECALLED) -> None:
        """Take requests back that have not left. Never called while libcurl's answers are read."""
        for transfer in [waiting for waiting in transfers if not waiting.left_at]:
            self._forget(transfer)
            self.multi.remove(transfer.curl)
            self._on_event("push recalled")
            self._on_end(self, transfer, failure)

    def close(self) -> None:
        for transfer in list(self.in_flight.values()):
            failure = transfer.closed()
            self._forget(transfer)
            self.multi.remove(transfer.curl)
            self._on_end(self, transfer, failure)
        self.multi.close()

    def look(self, now: float) -> None:
        """Called every now and then: recall what the server has no stream for, and try more streams again."""
        stuck = next((transfer for transfer in self.in_flight.values() if not transfer.left_at), None)
        if not self.warm or stuck is None or stuck is not self._stuck:
            self._stuck, self._stuck_since = stuck, now
            if self._limit < self._most_streams and now >= self._grows_at:
                self._limit, self._grows_at = min(2 * self._limit, self._most_streams), now + _GROWTH_S
        elif now - self._stuck_since >= _STREAM_WAIT_S:
            self._limit, self._grows_at = max(self.on_wire, 1), now + _GROWTH_S
            self.recall(self.in_flight.values())

    def socket_opened(self, transfer: Transfer) -> None:
        """A new connection: only its own 200 can warm it, and only the request that opened it goes ahead."""
        self.warm = False
        self._opener = transfer
        asyncio.get_running_loop().call_soon(self._start_cold)  # libcurl is not to be called from inside
        self._on_event("connection opened")

    def request_left(self, at: float) -> None:
        if self.on_wire == 0:
            self.heard_at = at
        self.on_wire += 1

    def _start_cold(self) -> None:
        if not self.multi.closed:
            self._cool()
            self.recall([waiting for waiting in self.in_flight.values() if waiting is not self._opener])

    def _cool(self) -> None:
        self.warm, self._limit = False, self._most_streams
        self.multi.setopt(pycurl.M_MAX_CONCURRENT_STREAMS, 1)

    def _done(self, curl: pycurl.Curl, code: int) -> None:
        transfer = self.in_flight[curl]
        is_opener = transfer is self._opener
        self._forget(transfer)
        result = transfer.result(code)
        if isinstance(result, Response):
            self.heard_at = monotonic()
            if is_opener and result.status == 200:
                self.warm = True
                self.multi.setopt(pycurl.M_MAX_CONCURRENT_STREAMS, self._most_streams)
        elif code in _CONNECTION_FAILED and self.warm:
            self._cool()
        self._on_end(self, transfer, result)

    def _forget(self, transfer: Transfer) -> None:
        del self.in_flight[transfer.curl]
        if transfer.left_at:
            self.on_wire -= 1
        if transfer is self._opener:
            self._opener = None
