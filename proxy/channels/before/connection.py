"""One libcurl multi that carries one HTTP/2 connection at a time."""

import asyncio
from collections.abc import Callable, Iterable
from time import monotonic

import pycurl

from proxy.channels.before.transfer import Transfer


class Connection:
    """A connection and its successors (after GOAWAY, reset, idleness), cold until one has answered 200.

    `flying` is what libcurl holds, `on_wire` how many of them have left and are not answered, `heard_at` (monotonic)
    when last somebody answered, or when the first request left after which nobody did.
    """

    def __init__(self, most_streams: int, on_event: Callable[[str], None]) -> None:
        self._most_streams, self._on_event = most_streams, on_event
        self._newest = self._outlived = -1  # libcurl numbers connections upwards
        self.warm = False
        self.flying: dict[Transfer, asyncio.Future[pycurl.Curl]] = {}
        self.on_wire = 0
        self.heard_at = 0.0
        self.multi = pycurl.AsyncCurlMulti()
        self.multi.setopt(pycurl.M_PIPELINING, pycurl.PIPE_MULTIPLEX)
        self.multi.setopt(pycurl.M_MAX_HOST_CONNECTIONS, 1)
        self.multi.setopt(pycurl.M_MAX_CONCURRENT_STREAMS, 1)

    def launch(self, transfer: Transfer) -> asyncio.Future[pycurl.Curl]:
        flight = self.flying[transfer] = self.multi.add_handle(transfer.curl)
        return flight

    def land(self, transfer: Transfer) -> None:
        if self.flying.pop(transfer, None) is not None and transfer.departed:
            self.on_wire -= 1

    def answered(self, transfer: Transfer, status: int) -> None:
        self.heard_at = monotonic()
        connection = transfer.curl.getinfo(pycurl.CONN_ID)
        self._newest = max(self._newest, connection)
        if status == 200 and not self.warm and connection > self._outlived:
            self.warm = True
            self.multi.setopt(pycurl.M_MAX_CONCURRENT_STREAMS, self._most_streams)

    def cool(self) -> None:
        self.warm = False
        if not self.multi.closed:
            self.multi.setopt(pycurl.M_MAX_CONCURRENT_STREAMS, 1)

    def recall(self, transfers: Iterable[Transfer]) -> None:
        """Take requests back from libcurl: their flights are cancelled, and they know that it was us."""
        for transfer in list(transfers):
            if self.flying[transfer].cancel():
                transfer.recalled = True
                self._on_event("push recalled")

    def socket_opened(self, transfer: Transfer) -> None:
        """A new connection: only its own 200 can warm it, and only the request that opened it goes ahead."""
        self.warm = False
        self._outlived = self._newest
        transfer.alone = True
        asyncio.get_running_loop().call_soon(self._start_cold, transfer)  # libcurl is not to be called from inside
        self._on_event("connection opened")

    def request_leaves(self) -> None:
        if self.on_wire == 0:
            self.heard_at = monotonic()
        self.on_wire += 1

    def _start_cold(self, opener: Transfer) -> None:
        if not self.multi.closed:
            self.cool()
            self.recall([waits for waits in self.flying if waits is not opener and not waits.departed])
