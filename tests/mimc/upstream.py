"""A TokenService that behaves and misbehaves as a test says, over real sockets."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

Serve = Callable[["Conversation"], None]


@dataclass
class Upstream:
    """`requests` are whole requests as they came, `connections` counts those that were accepted."""

    port: int
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0
    scheme: str = "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"


@dataclass
class Conversation:
    """One connection; `number` counts from 1."""

    upstream: Upstream
    connection: socket.socket
    number: int
    closing: threading.Event

    def receive(self) -> bytes:
        """The next request, noted; b"" at the end of the connection."""
        data = b""
        while b"\r\n\r\n" not in data:
            chunk = self.connection.recv(65536)
            if not chunk:
                return b""
            data += chunk
        head, _, body = data.partition(b"\r\n\r\n")
        length = sum(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        while len(body) < length:
            body += self.connection.recv(65536)
        self.upstream.requests.append(head + b"\r\n\r\n" + body)
        return self.upstream.requests[-1]

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def stall(self) -> None:
        """Says nothing until the test ends."""
        self.closing.wait(10)


def http(body: bytes, status: bytes = b"200 OK", headers: bytes = b"Content-Type: application/json\r\n") -> bytes:
    return b"HTTP/1.1 %b\r\n%bContent-Length: %d\r\n\r\n%b" % (status, headers, len(body), body)


def answering(answer: bytes) -> Serve:
    """Answers every request on a kept connection."""

    def serve(conversation: Conversation) -> None:
        while conversation.receive():
            conversation.send(answer)

    return serve


@contextmanager
def upstream(serve: Serve, tls: ssl.SSLContext | None = None) -> Iterator[Upstream]:
    listener = socket.create_server(("127.0.0.1", 0))
    running = Upstream(listener.getsockname()[1], scheme="https" if tls else "http")
    closing = threading.Event()
    threads: list[threading.Thread] = []
    connections: list[socket.socket] = []

    def talk(connection: socket.socket, number: int) -> None:
        with suppress(OSError), tls.wrap_socket(connection, server_side=True) if tls else connection as wrapped:
            connections.append(wrapped)
            serve(Conversation(running, wrapped, number, closing))

    def accept() -> None:
        with suppress(OSError):
            while not closing.is_set():
                connection, _ = listener.accept()
                if closing.is_set():
                    connection.close()
                    return
                connections.append(connection)
                running.connections += 1
                threads.append(threading.Thread(target=talk, args=(connection, running.connections)))
                threads[-1].start()

    acceptor = threading.Thread(target=accept)
    acceptor.start()
    try:
        yield running
    finally:
        closing.set()
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", running.port)).close()
        acceptor.join()
        listener.close()
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        for thread in threads:
            thread.join()
