"""The emulators' HTTP server: Flask on threads, with kept connections that can fail as ordered.

Werkzeug's own handler says "Connection: close" in every answer and does TLS handshakes in the accepting thread, so it
cannot test how a client reuses connections and what happens when they break.
"""

import io
import itertools
import re
import select
import signal
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Collection, Mapping, MutableMapping
from contextlib import closing
from enum import StrEnum
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from flask import Flask
from werkzeug.serving import BaseWSGIServer, DechunkedInput, ThreadedWSGIServer, WSGIRequestHandler
from werkzeug.wsgi import ClosingIterator

from proxy.emulators.certificates import ensure_certificates
from proxy.emulators.settings import HttpSettings

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

_BODY_LIMIT = 16 * 1024 * 1024
_HANDSHAKE_SECONDS = 10.0
_NUMBERS = itertools.count(1)

Announce = Callable[[Mapping[str, Any]], None]


class Ending(StrEnum):
    """What becomes of a connection once the view has returned, other than being kept."""

    RESET = "reset"  # an RST instead of an answer
    CLOSE = "close"  # closed instead of an answer
    SILENCE = "silence"  # no answer; closed when the client hangs up or the time is over
    CLOSE_AFTER = "close_after"  # answered as if it were kept, then closed without notice
    TRUNCATED = "truncated"  # half of the body that Content-Length promised, then closed
    NOT_HTTP = "not_http"  # bytes that no HTTP client can read, then closed


def end_connection(environ: MutableMapping[str, Any], ending: Ending, silence_s: float = 0) -> None:
    """End this request's connection so, whatever the view returns."""
    environ["emulator.ending"] = ending
    environ["emulator.silence_s"] = silence_s


def is_kept_connection(environ: Mapping[str, Any]) -> bool:
    """Whether an earlier request on this connection was answered."""
    return bool(environ["emulator.requests_before"])


def threaded_server(
    app: Flask, host: str, port: int, tls: ssl.SSLContext | None = None, hosts: Collection[str] = ()
) -> BaseWSGIServer:
    """A server bound already (`server.server_port` is the real one); call serve_forever(), then shutdown().

    It answers under IP addresses, localhost, `host` and `hosts`, and 421 under any other name.
    """
    return _Server(app, host, port, tls, hosts)


def is_known_host(shown: str | None, hosts: Collection[str]) -> bool:
    """May a request with this Host header be answered?

    A page of the internet could have its name point here ("DNS rebinding") and then read what is in the journals.
    """
    if shown is None:
        return True
    host = re.sub(r":[0-9]+$", "", shown).lower()
    if host == "localhost" or host in hosts:
        return True
    try:
        ip_address(host[1:-1] if host.startswith("[") and host.endswith("]") else host)
    except ValueError:
        return False
    return True


def serve(name: str, app: Flask, settings: HttpSettings, announce: Announce) -> None:
    """Serve until SIGTERM or SIGINT; to be called on the main thread.

    Once requests are taken, `announce` is called with "emulator", "port", "url" and, for https, "ca_file".
    """
    certificates = ensure_certificates(settings.tls_folder) if settings.tls_folder else None
    tls = certificates.server_context() if certificates else None
    server = threaded_server(app, settings.host, settings.port, tls, settings.hosts)
    scheme = "https" if certificates else "http"
    facts = {"emulator": name, "port": server.server_port, "url": f"{scheme}://{settings.host}:{server.server_port}"}
    if certificates:
        facts["ca_file"] = str(certificates.ca_file)
    stop = threading.Event()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGTERM, signal.SIGINT)}
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, name="http")
    thread.start()
    try:
        announce(facts)
        stop.wait()
    finally:
        server.shutdown()
        thread.join()
        for number, handler in before.items():
            signal.signal(number, handler)


class _Server(ThreadedWSGIServer):
    def __init__(self, app: Flask, host: str, port: int, tls: ssl.SSLContext | None, hosts: Collection[str]) -> None:
        super().__init__(host, port, app, _Handler)
        self.known_hosts = {host, *hosts}
        self.ssl_context = tls  # set after the socket was made: connections are wrapped in threads of their own

    def finish_request(self, request: Any, client_address: Any) -> None:
        if self.ssl_context is None:
            super().finish_request(request, client_address)
            return
        request.settimeout(_HANDSHAKE_SECONDS)
        try:
            wrapped = self.ssl_context.wrap_socket(request, server_side=True)
        except OSError:  # the client does not trust us, or speaks no TLS
            return
        with wrapped:
            wrapped.settimeout(None)
            super().finish_request(wrapped, client_address)


class _Handler(WSGIRequestHandler):
    """HTTP/1.1 with keep-alive; writes no access log, for paths may hold secrets."""

    server: "_Server"
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self._number = next(_NUMBERS)
        self._requests = 0

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002  werkzeug's own name
        """Say nothing."""

    def make_environ(self) -> dict[str, Any]:
        environ = super().make_environ()
        environ["emulator.connection"] = self._number
        environ["emulator.requests_before"] = self._requests
        return environ

    def run_wsgi(self) -> None:
        if self.headers.get("Expect", "").strip().lower() == "100-continue":
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.environ = environ = self.make_environ()
        body = _read_body(environ)
        if body is None:
            self.close_connection = True
            return
        if not is_known_host(environ.get("HTTP_HOST"), self.server.known_hosts):
            self._answer("421 Misdirected Request", [], b"unknown host\n", None)
            return
        environ["wsgi.input"] = io.BytesIO(body)
        status, headers, content = _call(self.server.app, environ)
        self._requests += 1
        self._answer(status, headers, content, environ.get("emulator.ending"))

    def _answer(self, status: str, headers: list[tuple[str, str]], body: bytes, ending: Ending | None) -> None:
        self.close_connection = self.close_connection or ending is not None
        match ending:
            case Ending.RESET:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()  # in effect once finish() has closed the files on it
            case Ending.CLOSE:
                pass
            case Ending.SILENCE:  # what makes the socket readable is its end, or a request that gets no answer either
                poll = select.poll()
                poll.register(self.connection, select.POLLIN)
                poll.poll(self.environ["emulator.silence_s"] * 1000)
            case Ending.NOT_HTTP:
                self.wfile.write(b"\x16\x03\x00 this is no HTTP\r\n\r\n")
            case Ending.TRUNCATED:
                self.wfile.write(self._head(status, headers, len(body)) + body[: len(body) // 2])
            case _:
                shown = b"" if self.command == "HEAD" else body
                self.wfile.write(self._head(status, headers, len(body)) + shown)

    def _head(self, status: str, headers: list[tuple[str, str]], length: int) -> bytes:
        lines = [f"HTTP/1.1 {status}"]
        lines += [f"{name}: {value}" for name, value in headers if name.lower() != "content-length"]
        if not any(name.lower() == "date" for name, _ in headers):
            lines.append(f"Date: {self.date_time_string()}")
        lines.append(f"Content-Length: {length}")
        if "close" in self.headers.get("Connection", "").lower():
            lines.append("Connection: close")
        return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _call(app: "WSGIApplication", environ: dict[str, Any]) -> tuple[str, list[tuple[str, str]], bytes]:
    """The application's status, headers and whole body; it may set an ending in `environ`."""
    started: list[tuple[str, list[tuple[str, str]]]] = []

    def start_response(status: str, headers: list[tuple[str, str]], _: object = None, /) -> Callable[[bytes], object]:
        started.append((status, headers))
        return lambda _: None  # Flask never writes by this old way

    with closing(ClosingIterator(app(environ, start_response))) as chunks:
        content = b"".join(chunks)
    return *started[-1], content


def _read_body(environ: Mapping[str, Any]) -> bytes | None:
    """All of the request's body, so that the next request begins where this one ends; None if that cannot be."""
    length = environ.get("CONTENT_LENGTH") or "0"
    if not (length.isascii() and length.isdigit()) or int(length) > _BODY_LIMIT:
        return None
    stream = environ["wsgi.input"]
    try:
        body: bytes = stream.readall() if isinstance(stream, DechunkedInput) else stream.read(int(length))
    except OSError:  # the client hung up, or its chunked encoding is invalid
        return None
    return body if isinstance(stream, DechunkedInput) or len(body) == int(length) else None
