"""A developer's server of names, over a socket: it checks signatures by the words of the scheme, and fails as told."""

import base64
import gzip
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from flask import Flask, Response, request

from proxy.emulators.server import Ending, end_connection, threaded_server
from proxy.settings import ProfileSettings

KEY = b"a-key-that-signs-questions"
SECRET = "whsec_" + base64.b64encode(KEY).decode()


@dataclass
class NamesServer:
    """`says` by account: members of the answer, a status, an answer as it is, or a way to end the connection.

    Whoever is not in it is unknown (404). What is `held` waits until it is told to go on.
    """

    origin: str = ""
    says: dict[str, Any] = field(default_factory=dict)
    asked: list[dict[str, Any]] = field(default_factory=list)
    held: set[str] = field(default_factory=set)
    go_on: threading.Event = field(default_factory=threading.Event)

    @property
    def settings(self) -> ProfileSettings:
        """With patience: no test may depend on how fast this machine is."""
        return self.settings_with(timeout_s=2.0)

    def settings_with(self, **changes: Any) -> ProfileSettings:
        return ProfileSettings.model_validate({"url": f"{self.origin}/names?key=x", "secret": SECRET, **changes})

    def app(self) -> Flask:
        app = Flask(__name__)

        @app.post("/names")
        def names() -> Response:
            body = request.get_data()
            if not is_signed(dict(request.headers), body):
                return Response(status=401)
            question = json.loads(body)
            self.asked.append(question)
            if question["account"] in self.held:
                self.go_on.wait(20)
            match self.says.get(question["account"], 404):
                case int(status):
                    return Response(status=status, headers={"Location": f"{self.origin}/elsewhere"})
                case bytes(raw):
                    return Response(raw)
                case Response() as response:
                    return response
                case Ending() as ending:
                    end_connection(request.environ, ending, silence_s=20)
                    return Response()
                case members:
                    return Response(json.dumps(members), content_type="application/json")

        @app.route("/elsewhere", methods=["GET", "POST"])
        def elsewhere() -> Response:
            self.asked.append({"account": "elsewhere"})
            return Response(b'{"name": "From elsewhere"}')

        return app


def is_signed(headers: dict[str, str], body: bytes) -> bool:
    """HMAC-SHA256 over id, time and body, with dots between them."""
    shown = {name.lower(): value for name, value in headers.items()}
    signed = f"{shown['webhook-id']}.{shown['webhook-timestamp']}.".encode() + body
    good = "v1," + base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
    return good in shown["webhook-signature"].split(" ")


def gzipped(body: bytes) -> Response:
    return Response(gzip.compress(body), headers={"Content-Encoding": "gzip"})


@contextmanager
def serving_names(**says: Any) -> Iterator[NamesServer]:
    server = NamesServer(says=says)
    listener = threaded_server(server.app(), "127.0.0.1", 0)
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    server.origin = f"http://127.0.0.1:{listener.server_port}"
    try:
        yield server
    finally:
        server.go_on.set()
        listener.shutdown()
        thread.join()
        listener.server_close()
