"""HTTP/2 for one APNs identity: one warm connection, and a fresh one when it falls silent.

libcurl lacks three things that APNs needs. It pours a hundred streams into a new connection before the server has said
how many it takes; it keeps using a connection on which nothing is answered any more; and what waits inside it waits for
that connection alone. So requests are handed to libcurl only when they may leave, and what has not left comes back.
"""

import asyncio
from collections.abc import Callable
from time import monotonic

import pycurl

from proxy.channels.connection import Connection
from proxy.channels.places import Places
from proxy.channels.transfer import CLOSED, Limits, Transfer, TransferPool
from proxy.curl import Route
from proxy.domain.transfers import FailureKind, Request, Response, TransportFailure

_LOOK_S = 0.1
_PATIENCE = 4  # times the slowest recent answer
_RECENT_S = 60.0
_NO_ROOM = TransportFailure("no free stream", FailureKind.NOT_SENT)


class Http2Transport:
    """Sends the requests of one identity (a team's key in one environment) to one host. A `proxy.ports.Transport`.

    libcurl shares connections by host, so two teams must not share a transport. While a connection is cold, one request
    goes alone; the first 200 warms it. A connection is left when requests are out and none was answered for longer than
    this provider has been seen to take; what left on it is still waited for.

    `on_event` counts: "connection opened", "push recalled", "silent connection left".
    """

    def __init__(self, route: Route, limits: Limits, on_event: Callable[[str], None]) -> None:
        self._limits, self._on_event = limits, on_event
        self._loop = asyncio.get_running_loop()
        # HTTP/2 or an error: libcurl's other choices fall back to HTTP/1.1
        self._transfers = TransferPool(route, limits, pycurl.CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE)
        self._places = Places(lambda: self._connection.room)
        self._connection = self._open()
        self._left: set[Connection] = set()
        self._slowest = SlowestAnswer()
        self._timer: asyncio.TimerHandle | None = None
        self._look_due = 0.0
        self._is_closed = False

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
        if self._is_closed:
            future.set_result(CLOSED)
        elif self._connection.room < 1:  # there was room when the place was reserved
            future.set_result(_NO_ROOM)
            self._places.changed()
        else:
            transfer = self._transfers.take()
            transfer.load(request, leave_by, self._connection, future)
            self._connection.start(transfer)
            if self._timer is None:
                self._look_later()
        return future

    async def aclose(self) -> None:
        """End the requests under way, and refuse new ones."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        for connection in (self._connection, *self._left):
            connection.close()
        self._left.clear()
        self._places.close()

    def _open(self) -> Connection:
        return Connection(self._limits.most_streams, self._ended, self._on_event)

    def _ended(self, connection: Connection, transfer: Transfer, result: Response | TransportFailure) -> None:
        if isinstance(result, Response):
            self._slowest.note(connection.heard_at - transfer.left_at, connection.heard_at)
            if connection is not self._connection:
                self._connection.heard_at = max(self._connection.heard_at, connection.heard_at)
        transfer.end(result)
        self._transfers.give_back(transfer)
        self._places.changed()
        if connection in self._left and not connection.in_flight:
            self._left.remove(connection)
            self._loop.call_soon(connection.multi.close)

    def _look_later(self) -> None:
        self._look_due = monotonic() + _LOOK_S
        self._timer = self._loop.call_later(_LOOK_S, self._look)

    def _look(self) -> None:
        """On a timer, not on new requests: once no place is free there are none."""
        self._timer = None
        now, connection = monotonic(), self._connection
        connection.heard_at += now - self._look_due  # a time in which this loop did not run is not their silence
        connection.look(now)
        if connection.on_wire and now - connection.heard_at > self._patience(now):
            self._leave(connection)
        self._places.changed()
        if self._connection.in_flight:
            self._look_later()

    def _patience(self, now: float) -> float:
        least, most = self._limits.silence_min_s, 0.9 * self._limits.push_timeout_s
        return min(max(least, _PATIENCE * self._slowest.recent(now)), max(least, most))

    def _leave(self, connection: Connection) -> None:
        """Go on with a new connection. The old one ends by itself, when its last request is answered or times out."""
        self._on_event("silent connection left")
        self._connection = self._open()
        connection.recall(connection.in_flight.values())
        self._left.add(connection)


class SlowestAnswer:
    """How long the slowest answer of the last minute or two took, in seconds."""

    def __init__(self) -> None:
        self._now, self._before = 0.0, 0.0
        self._since = 0.0

    def note(self, seconds: float, now: float) -> None:
        if now - self._since > _RECENT_S:
            self._turn(now)
        self._now = max(self._now, seconds)

    def recent(self, now: float) -> float:
        if now - self._since > _RECENT_S:
            self._turn(now)
        return max(self._now, self._before)

    def _turn(self, now: float) -> None:
        self._before = self._now if now - self._since <= 2 * _RECENT_S else 0.0
        self._now, self._since = 0.0, now
