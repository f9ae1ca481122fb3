"""An OAuth authorization server that we did not write (Authlib) understands our question, and we its answer."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from authlib.integrations.flask_oauth2 import AuthorizationServer  # type: ignore[import-untyped]
from authlib.oauth2.rfc7662 import IntrospectionEndpoint  # type: ignore[import-untyped]
from flask import Flask, Response
from werkzeug.serving import make_server

from proxy.auth import Authenticated, Credentials, Refused, Unavailable
from proxy.auth.introspection import Introspection
from proxy.auth.introspection_answer import CLIENT_REFUSED, NOT_ACTIVE, OTHER_AUDIENCE
from proxy.settings import IntrospectionSettings

CLIENT_ID, CLIENT_SECRET = "the broker", "s3cret:/+ %"


class Client:
    """Authlib's view of a client that may ask."""

    client_id = CLIENT_ID

    def check_client_secret(self, client_secret: str) -> bool:
        return client_secret == CLIENT_SECRET

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return (method, endpoint) == ("client_secret_basic", "introspection")


@dataclass
class Token:
    account: str
    expires_at: float = field(default_factory=lambda: time.time() + 600)
    revoked: bool = False

    def is_expired(self) -> bool:
        return self.expires_at < time.time()

    def is_revoked(self) -> bool:
        return self.revoked


TOKENS = {"good": Token("alice"), "old": Token("alice", expires_at=1.0), "revoked": Token("alice", revoked=True)}


class Endpoint(IntrospectionEndpoint):  # type: ignore[misc]  # Authlib has no types
    def query_token(self, token_string: str, token_type_hint: str | None) -> Token | None:
        return TOKENS.get(token_string) if token_type_hint == "access_token" else None

    def check_permission(self, token: Token, client: Client, request: Any) -> bool:  # noqa: ARG002  Authlib's
        return True

    def introspect_token(self, token: Token) -> dict[str, object]:
        return {"sub": token.account, "aud": ["mimc"], "exp": int(token.expires_at)}


@contextmanager
def authorization_server() -> Iterator[str]:
    app = Flask(__name__)
    server = AuthorizationServer(app, query_client=lambda client_id: Client() if client_id == CLIENT_ID else None)
    server.register_endpoint(Endpoint)

    @app.post("/introspect")
    def introspect() -> Response:
        answer: Response = server.create_endpoint_response("introspection")
        return answer

    http = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=http.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{http.port}/introspect"
    finally:
        http.shutdown()
        thread.join()
        http.server_close()


@pytest.mark.parametrize(
    ("opaque", "keys", "verdict"),
    [
        ("good", {}, Authenticated("alice", None, "introspection")),
        ("good", {"audience": "mimc"}, Authenticated("alice", None, "introspection")),
        ("good", {"audience": "another"}, OTHER_AUDIENCE),
        ("old", {}, NOT_ACTIVE),
        ("revoked", {}, NOT_ACTIVE),
        ("made-up", {}, NOT_ACTIVE),
        ("good", {"client_secret": "wrong"}, CLIENT_REFUSED),
    ],
)
def test_it_is_asked_and_understood(
    opaque: str, keys: dict[str, str], verdict: Authenticated | Refused | Unavailable
) -> None:
    with authorization_server() as url:
        document = {"url": url, "style": "rfc7662", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, **keys}
        backend = Introspection(IntrospectionSettings.model_validate(document))
        assert backend.authenticate(Credentials(f"Bearer {opaque}", {})) == verdict
