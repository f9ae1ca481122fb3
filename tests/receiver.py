"""A developer's endpoint for webhooks: it knows a request by the library of the scheme, which we did not write, and
answers as it is told.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

SECRET = "whsec_" + "cmVjZWl2ZXIgb2Ygd2ViaG9va3MsIDI0Kw=="
Answer = tuple[int, Mapping[str, str]]


@dataclass(frozen=True)
class Received:
    """One request. `status` is what it was answered; `headers` in lower case."""

    id: str
    body: bytes = field(repr=False)
    status: int
    path: str
    headers: Mapping[str, str] = field(repr=False)
    is_signed: bool


class Receiver:
    """`answer` says for each request, of which it is given the id and its number from 1, what is answered."""

    def __init__(self, secret: str = SECRET, port: int = 0) -> None:
        self.received: list[Received] = []
        self.answer: Callable[[str, int], Answer] = accepting
        self._library, self._lock = Webhook(secret), threading.Lock()
        self._server = _Server(("127.0.0.1", port), self._handler())
        self.port: int = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/hooks?key=key-in-the-webhooks-address"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def accepted(self) -> list[Received]:
        return [it for it in self.received if 200 <= it.status < 300]

    def _take(self, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        with self._lock:
            webhook_id, number = headers.get("webhook-id", ""), len(self.received) + 1
        status, more = self.answer(webhook_id, number)
        one = Received(webhook_id, body, status, path, headers, self._is_signed(headers, body))
        with self._lock:
            self.received.append(one)
        return status, more

    def _is_signed(self, headers: Mapping[str, str], body: bytes) -> bool:
        try:
            self._library.verify(body, dict(headers))
        except WebhookVerificationError:
            return False
        return True

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                status, more = receiver._take(self.path, headers, body)
                self.send_response(status)
                for name, value in ({"content-length": "0"} | dict(more)).items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_facts: object) -> None:
                """Tests look at what was received."""

        return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_facts: object) -> None:
        """A caller that was killed."""


def accepting(_webhook_id: str, _number: int) -> Answer:
    return 204, {}


def always(status: int, **headers: str) -> Callable[[str, int], Answer]:
    return lambda _webhook_id, _number: (status, {name.replace("_", "-"): value for name, value in headers.items()})
