"""HTTP/1.1 over kept connections, and what both transports refuse to talk to."""

import asyncio
import gzip
import math
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from flask import Flask, request
from flask import Response as WebResponse

from proxy.channels.http1 import Http1Transport
from proxy.channels.http2 import Http2Transport
from proxy.channels.transfer import CLOSED, Limits
from proxy.curl import Route
from proxy.domain.transfers import FailureKind, Request, Response, TransportFailure
from proxy.emulators.certificates import Certificates, ensure_certificates
from proxy.emulators.server import Ending, end_connection, threaded_server

UNREACHABLE = FailureKind.UNREACHABLE

LIMITS = Limits(push_timeout_s=1.0, connect_timeout_s=1.0, silence_min_s=0.3)


@dataclass
class Provider:
    """An HTTP/1.1 server that counts what it sees."""

    origin: str = ""
    ca_file: Path | None = None
    connections: Counter[int] = field(default_factory=Counter)
    bodies: list[bytes] = field(default_factory=list)
    close_kept: bool = False
    hold: threading.Event = field(default_factory=threading.Event)

    def post(self, path: str, body: bytes = b"a=1") -> Request:
        return Request(f"{self.origin}{path}", ("authorization: key=x", "user-agent:", "accept:"), body)

    def app(self) -> Flask:
        app = Flask(__name__)

        @app.post("/<what>")
        def answer(what: str) -> WebResponse:
            if self.close_kept and request.environ["emulator.requests_before"]:
                end_connection(request.environ, Ending.CLOSE)
            self.connections[request.environ["emulator.connection"]] += 1
            self.bodies.append(request.get_data())
            match what:
                case "held":
                    self.hold.wait(20)
                case "slow":
                    time.sleep(0.05)
                case "large":
                    return WebResponse(b"x" * 10_000_000)
                case "gzip":
                    return WebResponse(gzip.compress(b'{"code":0}'), headers={"Content-Encoding": "gzip"})
                case "bomb":
                    return WebResponse(gzip.compress(b"x" * 10_000_000), headers={"Content-Encoding": "gzip"})
                case "redirect":
                    return WebResponse(status=302, headers={"Location": "/elsewhere"})
                case "later":
                    return WebResponse(b"{}", status=503, headers={"Retry-After": "7", "X-Odd": "a: b"})
            return WebResponse(what)

        return app


@contextmanager
def serving(provider: Provider, tls: ssl.SSLContext | None = None) -> Iterator[Provider]:
    server = threaded_server(provider.app(), "127.0.0.1", 0, tls)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    provider.origin = f"http{'s' if tls else ''}://127.0.0.1:{server.server_port}"
    try:
        yield provider
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return ensure_certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def provider(certificates: Certificates) -> Iterator[Provider]:
    with serving(Provider(ca_file=certificates.ca_file), certificates.server_context()) as provider:
        yield provider


@dataclass
class Pool:
    """One request after its reservation, as a lane sends them."""

    transport: Http1Transport

    async def send(self, request: Request, leave_by: float = math.inf) -> Response | TransportFailure:
        assert await self.transport.reserve(1) == 1
        return await self.transport.send(request, leave_by)


def play(provider: Provider, scene: Callable[[Pool], Awaitable[None]], connections: int = 4) -> Counter[str]:
    events: Counter[str] = Counter()

    async def run() -> None:
        route = Route(provider.ca_file)
        transport = Http1Transport(route, LIMITS, connections, lambda event: events.update([event]))
        try:
            async with asyncio.timeout(10):
                await scene(Pool(transport))
        finally:
            await transport.aclose()

    asyncio.run(run())
    return events


def test_connections_are_few_kept_and_shared(provider: Provider) -> None:
    async def scene(pool: Pool) -> None:
        ended = await asyncio.gather(*(pool.send(provider.post("/slow")) for _ in range(20)))
        assert {(answer.status, answer.body) for answer in ended if isinstance(answer, Response)} == {(200, b"slow")}

    assert play(provider, scene) == {"connection opened": 4}
    assert sum(provider.connections.values()) == 20
    assert len(provider.connections) == 4


def test_header_names_come_back_in_lower_case_whatever_the_status(provider: Provider) -> None:
    async def scene(pool: Pool) -> None:
        answer = await pool.send(provider.post("/later", b"payload"))
        assert isinstance(answer, Response)
        assert (answer.status, answer.body) == (503, b"{}")
        assert answer.headers["retry-after"] == "7"
        assert answer.headers["x-odd"] == "a: b"
        assert "date" in answer.headers

    play(provider, scene)
    assert provider.bodies == [b"payload"]


def test_an_endless_body_is_cut_and_its_status_counts(provider: Provider) -> None:
    async def scene(pool: Pool) -> None:
        answer = await pool.send(provider.post("/large"))
        assert isinstance(answer, Response)
        assert (answer.status, len(answer.body)) == (200, 256 * 1024)
        assert isinstance(await pool.send(provider.post("/ok")), Response)

    play(provider, scene)


def test_a_compressed_answer_is_read_though_none_was_asked_for(provider: Provider) -> None:
    async def scene(pool: Pool) -> None:
        answer = await pool.send(provider.post("/gzip"))
        assert isinstance(answer, Response)
        assert answer.body == b'{"code":0}'
        bomb = await pool.send(provider.post("/bomb"))
        assert isinstance(bomb, Response)
        assert len(bomb.body) == 256 * 1024

    play(provider, scene)


def test_a_redirect_is_an_answer_and_is_not_followed(provider: Provider) -> None:
    async def scene(pool: Pool) -> None:
        answer = await pool.send(provider.post("/redirect"))
        assert isinstance(answer, Response)
        assert answer.status == 302

    play(provider, scene)
    assert len(provider.bodies) == 1


def test_a_request_that_met_a_closed_connection_may_be_repeated(provider: Provider) -> None:
    async def scene(pool: Pool) -> None:
        assert isinstance(await pool.send(provider.post("/first")), Response)
        provider.close_kept = True
        second = await pool.send(provider.post("/second"))
        assert isinstance(second, Response) or second.kind is FailureKind.BROKEN
        assert isinstance(await pool.send(provider.post("/third")), Response)

    play(provider, scene)


def test_a_request_does_not_leave_after_its_time(provider: Provider) -> None:
    async def scene(pool: Pool) -> None:
        assert await pool.send(provider.post("/ok"), time.monotonic() - 1) == TransportFailure(
            "lease lost", FailureKind.NOT_SENT
        )
        assert isinstance(await pool.send(provider.post("/ok")), Response)

    play(provider, scene)
    assert len(provider.bodies) == 1


def test_there_are_as_many_places_as_connections(provider: Provider) -> None:
    async def scene(pool: Pool) -> None:
        transport = pool.transport
        assert await transport.reserve(10) == 4
        waits = asyncio.create_task(transport.reserve(10))
        sent = [transport.send(provider.post("/slow"), math.inf) for _ in range(4)]
        assert await asyncio.wait_for(waits, 5) >= 1
        assert all(isinstance(ended, Response) for ended in await asyncio.gather(*sent))

    play(provider, scene)


def test_a_closed_transport_answers_those_in_flight_those_who_wait_and_those_who_come(provider: Provider) -> None:
    async def scene(pool: Pool) -> None:
        in_flight = asyncio.create_task(pool.send(provider.post("/held")))
        while not provider.bodies:
            await asyncio.sleep(0.005)
        waits = asyncio.create_task(pool.send(provider.post("/held")))
        await asyncio.sleep(0)  # it has asked for a place
        await pool.transport.aclose()
        provider.hold.set()
        assert await in_flight == TransportFailure("transport closed", FailureKind.BROKEN)
        assert await waits == await pool.send(provider.post("/ok")) == CLOSED

    play(provider, scene, connections=1)


def test_plain_http_is_spoken_to_this_machine_alone() -> None:
    async def scene(pool: Pool) -> None:
        assert isinstance(await pool.send(plain.post("/ok")), Response)
        for origin in (
            "http://203.0.113.1",  # TEST-NET-3: were it tried, it would time out
            "http://127.example.invalid",
            "http://localhost.example.invalid",
            "http://127.0.0.1:80@example.invalid",
            "http://[::1]@example.invalid",
            "file:///etc",
        ):
            plain.origin = origin
            assert await pool.send(plain.post("/ok")) == TransportFailure("address of a forbidden kind", UNREACHABLE)

    with serving(Provider()) as plain:
        play(plain, scene)


def test_a_reason_names_no_address(provider: Provider) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        provider.origin = f"https://127.0.0.1:{taken.getsockname()[1]}"

        async def scene(pool: Pool) -> None:
            assert await pool.send(provider.post("/secret")) == TransportFailure("connection refused", UNREACHABLE)

        play(provider, scene)


def test_a_request_goes_through_the_proxy_and_its_connect_counts_as_nothing_sent(provider: Provider) -> None:
    asked: list[bytes] = []

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        port = int(provider.origin.rpartition(":")[2])
        there, back = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"HTTP/1.1 200 Connection established\r\nVia: 1.1 proxy\r\n\r\n")
        await asyncio.gather(_pump(reader, back), _pump(there, writer))

    async def run() -> None:
        async with await asyncio.start_server(connect, "127.0.0.1", 0) as proxy:
            route = Route(provider.ca_file, f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}")
            pool = Pool(Http1Transport(route, LIMITS, 4, lambda _: None))
            elsewhere = replace(provider.post("/secret"), url="https://push.example/secret")
            ended = await pool.send(elsewhere)  # the certificate behind the proxy is not push.example's
            assert isinstance(await pool.send(provider.post("/ok")), Response)
            await pool.transport.aclose()
            await asyncio.sleep(0.05)  # the two ends hang up
        assert ended == TransportFailure("certificate not trusted", UNREACHABLE)

    asyncio.run(run())
    assert [line.split(b"\r\n")[0] for line in asked] == [
        b"CONNECT push.example:443 HTTP/1.1"
    ]  # loopback goes straight
    assert provider.bodies == [b"a=1"]


def test_a_proxys_password_is_in_no_repr() -> None:
    assert "hunter2" not in repr(Route(proxy="http://me:hunter2@proxy.example:3128"))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while part := await reader.read(65536):
        writer.write(part)
        await writer.drain()
    writer.close()


def test_a_server_without_http_2_gets_no_push(provider: Provider) -> None:
    async def run() -> None:
        transport = Http2Transport(Route(provider.ca_file), LIMITS, lambda _: None)
        assert await transport.reserve(1) == 1
        ended = await transport.send(provider.post("/ok"), math.inf)
        await transport.aclose()
        assert isinstance(ended, TransportFailure)

    asyncio.run(run())
    assert not provider.bodies
