"""How many round trips to the store something takes that runs in threads: a relay of bytes in between counts them."""

import selectors
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

_CHUNK = 1 << 20


class Relay(socketserver.ThreadingUnixStreamServer):
    """`url` leads to the store. `count` grows with each question that follows an answer, on each connection."""

    daemon_threads = True

    def __init__(self, path: Path, store_url: str) -> None:
        super().__init__(str(path), _Connection)
        self.url = f"unix://{path}"
        self.store = urlsplit(store_url).path
        self.count = 0


class _Connection(socketserver.BaseRequestHandler):
    server: Relay

    def handle(self) -> None:
        with socket.socket(socket.AF_UNIX) as store, selectors.DefaultSelector() as either:
            store.connect(self.server.store)
            for one, other in ((self.request, store), (store, self.request)):
                either.register(one, selectors.EVENT_READ, other)
            answered = True
            while True:
                for key, _ in either.select():
                    data = key.fileobj.recv(_CHUNK)  # type: ignore[union-attr]  # a socket, as was registered
                    if not data:
                        return
                    if key.data is store and answered:
                        self.server.count += 1
                    answered = key.data is not store
                    key.data.sendall(data)


@contextmanager
def counted_trips(store_url: str) -> Iterator[Relay]:
    """A relay to the store at this unix socket's URL, as long as the context lasts."""
    with TemporaryDirectory(prefix="trips") as folder, Relay(Path(folder) / "s", store_url) as relay:
        thread = threading.Thread(target=relay.serve_forever, args=[0.02])
        thread.start()
        try:
            yield relay
        finally:
            relay.shutdown()
            thread.join()
