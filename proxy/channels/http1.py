"""HTTP/1.1: some kept connections, one request at a time on each."""

import asyncio
from collections.abc import Callable

import pycurl

from proxy.channels.multi import Multi
from proxy.channels.places import Places
from proxy.channels.transfer import CLOSED, Limits, Transfer, TransferPool
from proxy.curl import Route, protocols_of
from proxy.domain.transfers import Request, Response, TransportFailure


class Http1Transport:
    """Sends over at most `connections` HTTP/1.1 connections. A `proxy.ports.Transport`.

    Plain http:// is spoken to loopback alone, unless the route allows it. The first request on a connection that the
    server has closed may end as BROKEN: whether it arrived is unknown.
    """

    def __init__(self, route: Route, limits: Limits, connections: int, on_event: Callable[[str], None]) -> None:
        self._on_event, self._plain = on_event, route.plain
        self._loop = asyncio.get_running_loop()
        # a compressed answer is read, also where the request's headers do not ask for one
        options = [(pycurl.ACCEPT_ENCODING, "gzip")]
        self._transfers = TransferPool(route, limits, pycurl.CURL_HTTP_VERSION_1_1, options)
        self._in_flight: dict[pycurl.Curl, Transfer] = {}
        self._places = Places(lambda: connections - len(self._in_flight))
        self._multi = Multi(self._done)
        self._multi.setopt(pycurl.M_MAX_HOST_CONNECTIONS, connections)

    async def reserve(self, most: int) -> int:
        """Wait until at least one request may leave now; take up to `most` places, and say how many."""
        return await self._places.reserve(most)

    def reserve_free(self, most: int) -> int:
        """Take up to `most` places that are free now, none where another caller waits."""
        return self._places.take(most)

    def give_back(self, places: int) -> None:
        """Reserved, and not used."""
        self._places.give_back(places)

    def send(self, request: Request, leave_by: float) -> asyncio.Future[Response | TransportFailure]:
        """Post a request on a reserved place, which is free again when the future is done.

        The request does not leave after `leave_by` (monotonic).
        """
        future: asyncio.Future[Response | TransportFailure] = self._loop.create_future()
        self._places.use()
        if self._multi.closed:
            future.set_result(CLOSED)
            return future
        transfer = self._transfers.take()
        transfer.load(request, leave_by, self, future)
        transfer.curl.setopt(pycurl.PROTOCOLS, protocols_of(request.url, plain=self._plain))
        self._in_flight[transfer.curl] = transfer
        self._multi.add(transfer.curl)
        return future

    async def aclose(self) -> None:
        """End the requests under way, and refuse new ones."""
        for transfer in self._in_flight.values():
            transfer.end(transfer.closed())
            self._multi.remove(transfer.curl)
        self._in_flight.clear()
        self._multi.close()
        self._places.close()

    def socket_opened(self, _transfer: Transfer) -> None:
        self._on_event("connection opened")

    def request_left(self, _at: float) -> None:
        """Nothing to keep count of."""

    def _done(self, curl: pycurl.Curl, code: int) -> None:
        transfer = self._in_flight.pop(curl)
        transfer.end(transfer.result(code))
        self._transfers.give_back(transfer)
        self._places.changed()
