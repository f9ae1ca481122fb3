"""HTTP/2 for one APNs identity: one warm connection, and a fresh one when it falls silent.

libcurl lacks three things that APNs needs. It pours a hundred streams into a new connection before the server has said
how many it takes; it keeps using a connection on which nobody answers any more; and what waits inside it waits for that
connection alone. So requests wait here, in front of libcurl, and those that have not left are called back.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from time import monotonic

import pycurl

from proxy.channels.before.connection import Connection
from proxy.channels.before.transfer import (
    CLOSED,
    HTTP2_STREAM,
    LEASE_LOST,
    PROXY,
    Limits,
    Route,
    Transfer,
    TransferPool,
    always,
    curl_options,
    ignore,
)  # fmt: skip
from proxy.domain.transfers import FailureKind, Request, Response, TransportFailure

_IDLE_TRANSFERS = 500  # 65 kB each
_FIRST_PAUSE_S = 0.1
# a request that no server has seen is innocent of these; of anything else it may be the cause
_CONNECTION_FAILED = frozenset({
    pycurl.E_COULDNT_RESOLVE_PROXY, pycurl.E_COULDNT_RESOLVE_HOST, pycurl.E_COULDNT_CONNECT, pycurl.E_HTTP2,
    pycurl.E_OPERATION_TIMEDOUT, pycurl.E_SSL_CONNECT_ERROR, pycurl.E_GOT_NOTHING, pycurl.E_SEND_ERROR,
    pycurl.E_RECV_ERROR, pycurl.E_PEER_FAILED_VERIFICATION, pycurl.E_SSL_CACERT_BADFILE, HTTP2_STREAM, PROXY,
})  # fmt: skip


class Http2Gate:
    """Sends the requests of one identity (a team in one environment) to one host.

    libcurl shares connections by host, so two teams must not share a gate. While a connection is cold, one request goes
    alone and the others wait, each `limits.wait_s` at most; how many wait is bounded by how many the caller sends at
    once. The first 200 of a connection warms it. A request that has not left when its connection fails or falls silent
    goes on to the next one, and the caller does not notice. While nothing gets through, tries are further and further
    apart.

    `on_event` counts: "connection opened", "push recalled", "probe failed", "silent connection left".
    """

    def __init__(self, route: Route, limits: Limits, on_event: Callable[[str], None] = ignore) -> None:
        self._limits, self._on_event = limits, on_event
        options = curl_options(route, limits, pycurl.CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE)  # or an error, never 1.1
        self._transfers = TransferPool(options, _IDLE_TRANSFERS)
        self._queue: deque[asyncio.Future[None]] = deque()
        self._link: Connection | None = None
        self._links: set[Connection] = set()
        self._closing: set[asyncio.Task[None]] = set()
        self._watch_timer: asyncio.TimerHandle | None = None
        self._watched_at = 0.0
        self._failures, self._failure = 0, ""
        self._probe_at = 0.0
        self._probe_timer: asyncio.TimerHandle | None = None
        self._closed = False

    async def send(self, request: Request, may_send: Callable[[], bool] = always) -> Response | TransportFailure:
        """Post a request. NoAnswer(sent=True) means that it may have arrived: repeat it under the same ids.

        `may_send` is asked at the last moment before the request leaves, and again before libcurl repeats one that the
        server refused; once it says no the request ends as NoAnswer("lease lost"). It must not raise.
        """
        deadline = monotonic() + self._limits.wait_s
        while await self._my_turn(deadline):
            if self._closed:
                return TransportFailure(CLOSED, FailureKind.NOT_SENT)
            if not may_send():
                self._admit()
                return TransportFailure(LEASE_LOST, FailureKind.NOT_SENT)
            ended = await self._fly(request, may_send)
            if ended is not None:
                return ended
            if monotonic() > deadline:
                break
        return TransportFailure(self._failure or "no free stream in time", FailureKind.NOT_SENT)

    async def aclose(self) -> None:
        """End what is under way: its senders get NoAnswer, and so does every later one."""
        self._closed = True
        for timer in (self._watch_timer, self._probe_timer):
            if timer is not None:
                timer.cancel()
        links, self._links, self._link = self._links, set(), None
        for link in links:
            link.recall(link.flying)
            await link.multi.aclose()
        await asyncio.gather(*self._closing)
        self._admit()

    async def _my_turn(self, deadline: float) -> bool:
        """Wait until a request may go to libcurl; False when that took too long."""
        waited = False
        while not self._is_open():
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            (self._queue.appendleft if waited else self._queue.append)(turn)
            waited, taken = True, False
            try:
                async with asyncio.timeout(deadline - monotonic()):
                    await turn
                taken = True
            except TimeoutError:
                return False
            finally:
                if not taken:
                    self._admit()  # it may have been given already: pass it on
        return True

    def _is_open(self) -> bool:
        link = self._link
        if self._closed or (link is not None and link.warm):
            return True
        return (link is None or not link.flying) and monotonic() >= self._probe_at

    def _admit(self) -> None:
        """Wake who may go: all once the connection is warm, else one, and that not before its time."""
        queue = self._queue
        while queue and queue[0].done():
            queue.popleft()
        if not queue:
            return
        if self._closed or (self._link is not None and self._link.warm):
            while queue:
                _wake(queue.popleft())
        elif self._is_open():
            _wake(queue.popleft())
        elif self._probe_timer is None and (pause := self._probe_at - monotonic()) > 0:
            self._probe_timer = asyncio.get_running_loop().call_later(pause, self._end_pause)

    def _end_pause(self) -> None:
        self._probe_timer = None
        self._admit()

    async def _fly(self, request: Request, may_send: Callable[[], bool]) -> Response | TransportFailure | None:
        """Hand a request to libcurl; None when it came back without having left."""
        link = self._link = self._link or self._open_link()
        transfer = self._transfers.take()
        try:
            ended = await self._ride(link, transfer, request, may_send)
        finally:
            link.land(transfer)
            if link is not self._link and not link.flying:
                self._drop(link)
            self._admit()
        if not transfer.recalled:
            self._transfers.give_back(transfer)
        return ended

    async def _ride(
        self, link: Connection, transfer: Transfer, request: Request, may_send: Callable[[], bool]
    ) -> Response | TransportFailure | None:
        task = asyncio.current_task()
        cancelled_before = task.cancelling() if task else 0
        transfer.load(request, may_send, link, alone=not link.warm)
        flight = link.launch(transfer)
        if self._watch_timer is None:
            self._watched_at = monotonic()
            self._watch_again()
        try:
            await flight
        except pycurl.error as error:
            return self._judge(link, transfer, int(error.args[0]))
        except asyncio.CancelledError:
            if not transfer.recalled or (task and task.cancelling() > cancelled_before):
                raise
            return transfer.closed() if self._closed else None
        return self._judge(link, transfer, pycurl.E_OK)

    def _judge(self, link: Connection, transfer: Transfer, code: int) -> Response | TransportFailure | None:
        """What a transfer's end means: for the caller (None: nobody has seen the request), and for the connection."""
        answer = transfer.answer()
        if answer is not None:
            if link is self._link:
                self._failures, self._failure = 0, ""
                link.answered(transfer, answer.status)
            return answer
        ended = transfer.no_answer(code)
        again = not ended.sent and code in _CONNECTION_FAILED
        if link is self._link and code != pycurl.E_ABORTED_BY_CALLBACK:
            if again and code != pycurl.E_OPERATION_TIMEDOUT:
                link.cool()
            if transfer.alone:
                self._fail(ended.reason)
        return None if again else ended

    def _fail(self, reason: str) -> None:
        """Nothing got through. Once that is chance (an idle connection was closed); from then on, pause."""
        self._failures, self._failure = self._failures + 1, reason
        if self._failures > 1:
            pause = _FIRST_PAUSE_S * 2 ** min(self._failures - 2, 16)
            self._probe_at = monotonic() + min(pause, self._limits.longest_pause_s)
        self._on_event("probe failed")

    def _watch_again(self) -> None:
        self._watch_timer = asyncio.get_running_loop().call_later(self._limits.silence_min_s / 4, self._watch)

    def _watch(self) -> None:
        """On a timer, not on new requests: once all the caller's slots are stuck there are none."""
        self._watch_timer = None
        link, now = self._link, monotonic()
        if link is None:
            return
        if now - self._watched_at > self._limits.silence_min_s:
            link.heard_at = now  # it was us who stood still
        elif link.on_wire and now - link.heard_at > self._limits.silence_min_s:
            self._leave(link)
        self._watched_at = now
        if link is self._link and link.flying:
            self._watch_again()

    def _leave(self, link: Connection) -> None:
        """Go on with a new connection; the old one ends by itself, when its last request is answered or times out."""
        self._link = None
        self._on_event("silent connection left")
        if not link.warm:
            self._fail("connection silent")
        link.recall([transfer for transfer in link.flying if not transfer.sent])
        self._admit()

    def _open_link(self) -> Connection:
        link = Connection(self._limits.most_streams, self._on_event)
        self._links.add(link)
        return link

    def _drop(self, link: Connection) -> None:
        if link in self._links:
            self._links.remove(link)
            closing = asyncio.create_task(link.multi.aclose())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)


def _wake(turn: asyncio.Future[None]) -> None:
    if not turn.done():
        turn.set_result(None)
