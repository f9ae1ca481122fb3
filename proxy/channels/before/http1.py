"""HTTP/1.1 for Mi Push: some kept connections, one request at a time on each."""

import asyncio
from collections.abc import Callable

import pycurl

from proxy.channels.before.transfer import (
    CLOSED,
    LEASE_LOST,
    Limits,
    Route,
    Transfer,
    TransferPool,
    always,
    curl_options,
    ignore,
    is_plain_loopback,
)  # fmt: skip
from proxy.domain.transfers import FailureKind, Request, Response, TransportFailure


class Http1Pool:
    """Sends over at most `connections` HTTP/1.1 connections; the others wait for one, `limits.wait_s` at most.

    Plain http:// is spoken to loopback alone. The first request on a connection that the server has closed may end as
    NoAnswer(sent=True): nobody can tell whether it arrived.
    """

    def __init__(
        self, route: Route, limits: Limits, connections: int = 24, on_event: Callable[[str], None] = ignore
    ) -> None:
        self._limits, self._on_event = limits, on_event
        self._transfers = TransferPool(curl_options(route, limits, pycurl.CURL_HTTP_VERSION_1_1), connections)
        self._slots = asyncio.Semaphore(connections)
        self._multi = pycurl.AsyncCurlMulti()
        self._multi.setopt(pycurl.M_MAX_HOST_CONNECTIONS, connections)

    async def send(self, request: Request, may_send: Callable[[], bool] = always) -> Response | TransportFailure:
        """Post a request. `may_send` is asked at the last moment before it leaves; it must not raise."""
        try:
            async with asyncio.timeout(self._limits.wait_s):
                await self._slots.acquire()
        except TimeoutError:
            return TransportFailure("no free connection in time", FailureKind.NOT_SENT)
        try:
            if self._multi.closed:
                return TransportFailure(CLOSED, FailureKind.NOT_SENT)
            return (
                await self._ride(request, may_send)
                if may_send()
                else TransportFailure(LEASE_LOST, FailureKind.NOT_SENT)
            )
        finally:
            self._slots.release()

    async def aclose(self) -> None:
        """End what is under way: its senders get NoAnswer, and so does every later one."""
        await self._multi.aclose()

    def socket_opened(self, _transfer: Transfer) -> None:
        self._on_event("connection opened")

    def request_leaves(self) -> None:
        """Nothing to keep count of."""

    async def _ride(self, request: Request, may_send: Callable[[], bool]) -> Response | TransportFailure:
        task = asyncio.current_task()
        cancelled_before = task.cancelling() if task else 0
        transfer = self._transfers.take()
        transfer.load(request, may_send, self)
        plain = pycurl.PROTO_HTTP if is_plain_loopback(request.url) else 0
        transfer.curl.setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTPS | plain)
        code = pycurl.E_OK
        try:
            await self._multi.add_handle(transfer.curl)
        except pycurl.error as error:
            code = int(error.args[0])
        except asyncio.CancelledError:
            if not self._multi.closed or (task and task.cancelling() > cancelled_before):
                raise
            return transfer.closed()
        self._transfers.give_back(transfer)
        return transfer.answer() or transfer.no_answer(code)
