"""A developer's own URL, over real sockets, that answers as a test says."""

import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl


@dataclass(frozen=True)
class Asked:
    """One request as it came; header names in lower case. `connection` tells kept connections apart."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    connection: object

    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode()))


@dataclass(frozen=True)
class Reply:
    """`hangs` before the status line, `stalls` after half of the body: until the test ends. `closes` without notice."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    hangs: bool = False
    stalls: bool = False
    closes: bool = False


Response = Callable[[Asked], Reply]


def always(status: int = 200, body: bytes = b"", headers: Mapping[str, str] | None = None, **more: bool) -> Response:
    reply = Reply(status, body, headers or {}, **more)
    return lambda _asked: reply


@dataclass
class Endpoint:
    """`answer` may be changed by the test at any time."""

    answer: Response
    scheme: str = "http"
    port: int = 0
    asked: list[Asked] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/whoami/"


@contextmanager
def endpoint(answer: Response, tls: ssl.SSLContext | None = None) -> Iterator[Endpoint]:
    it = Endpoint(answer, "https" if tls else "http")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Asked(self.command, self.path, headers, self.rfile.read(length), self.connection)
            it.asked.append(asked)
            self._reply(it.answer(asked))

        do_POST = do_GET  # noqa: N815  the library's name

        def _reply(self, reply: Reply) -> None:
            if reply.hangs:
                it.closing.wait(60)
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            half = len(reply.body) // 2
            with suppress(OSError):
                self.wfile.write(reply.body[:half])
                self.wfile.flush()
                if reply.stalls:
                    it.closing.wait(60)
                self.wfile.write(reply.body[half:])
            self.close_connection = reply.closes or it.closing.is_set()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the signature is the library's
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True  # a kept connection's thread waits for its client

        def finish_request(self, request: Any, client_address: Any) -> None:
            with suppress(OSError), tls.wrap_socket(request, server_side=True) if tls else request as connection:
                super().finish_request(connection, client_address)

    with Server(("127.0.0.1", 0), Handler) as server:
        it.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield it
        finally:
            it.closing.set()
            server.shutdown()
            thread.join()
