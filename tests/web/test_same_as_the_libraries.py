"""What we do in place of Flask and gunicorn, to spare CPU, gives what they give."""

import re
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask, Response, appcontext_tearing_down, request_tearing_down
from gunicorn.config import Config  # type: ignore[import-untyped]  # gunicorn has no types
from gunicorn.http import wsgi  # type: ignore[import-untyped]
from werkzeug.exceptions import HTTPException
from werkzeug.test import EnvironBuilder, run_wsgi_app

from proxy.web import answers
from proxy.web.envelope import PlainAnswer, envelope_text
from tests.web.world import World

HOSTS = (
    "a.example",
    "A.example:8080",
    "127.0.0.1:1",
    "[::1]:80",
    "",
    "a..b",
    "-",
    "a:99999",
    f"{64 * 'a'}.x",
    "a b",
    "ü",
)
PATHS = (
    "/callbacks/mimc/x",
    "/callbacks/mimc/x%2Fy",
    "//api/account/token",
    "/api/account/token/",
    "/healthz",
    "",
    "/ü",
)


@pytest.mark.parametrize("upgrade", [{}, {"Upgrade": "websocket", "Connection": "Upgrade"}])
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "OPTIONS"])
def test_the_same_route_is_found_as_by_flask(method: str, upgrade: dict[str, str]) -> None:
    app = World().app

    def found(adapter: Any, path: str, host: str) -> object:
        environ = EnvironBuilder(path="/", method=method, headers=upgrade.items()).get_environ()
        environ |= {"HTTP_HOST": host.encode().decode("latin-1"), "PATH_INFO": path.encode().decode("latin-1")}
        try:
            rule, arguments = adapter(app.request_class(environ)).match(return_rule=True)
        except HTTPException as error:
            return type(error), getattr(error, "valid_methods", None)
        return rule, arguments

    for host in HOSTS:
        for path in PATHS:
            theirs = found(lambda request: Flask.create_url_adapter(app, request), path, host)
            for _ in range(2):  # the second time it may be known
                assert found(app.create_url_adapter, path, host) == theirs, (path, host)


@pytest.mark.parametrize("cookie", [[], [("Set-Cookie", "a=b")]])
@pytest.mark.parametrize("length", [[], [("Content-Length", "2")]])
@pytest.mark.parametrize(("version", "closes"), [((1, 1), False), ((1, 1), True), ((1, 0), True)])
@pytest.mark.parametrize(("method", "status"), [("POST", "200 OK"), ("HEAD", "200 OK"), ("OPTIONS", "204 No Content")])
def test_the_same_answer_is_written_as_by_gunicorn(
    method: str,
    status: str,
    version: tuple[int, int],
    *,
    closes: bool,
    length: list[tuple[str, str]],
    cookie: list[tuple[str, str]],
) -> None:
    request = SimpleNamespace(method=method, version=version, should_close=lambda: closes)
    headers = [("Content-Type", "application/json"), *length, *cookie, ("Connection", "close"), ("X-A", " b ")]

    def written(kind: Any) -> bytes:
        out = _Out()
        answer = kind(request, out, Config())
        answer.start_response(status, headers)
        answer.write(b"ok")
        answer.close()
        return re.sub(rb"Date: [^\r]+ GMT", b"Date", out.written)

    assert written(answers.Answer) == written(wsgi.Response)


@pytest.mark.parametrize("header", [("X-A", "b\r\nX-C: d"), ("X A", "b"), ("X-A\r\n", "b")])
def test_a_header_that_would_write_another_is_refused_as_by_gunicorn(header: tuple[str, str]) -> None:
    request = SimpleNamespace(method="GET", version=(1, 1), should_close=lambda: False)
    for kind in (answers.Answer, wsgi.Response):
        with pytest.raises(Exception, match="X"):
            kind(request, _Out(), Config()).start_response("200 OK", [header])


def test_plain_settings_are_gunicorns() -> None:
    theirs = Config()
    theirs.set("keepalive", 7)
    ours = answers.with_plain_settings(theirs)
    for name in theirs.settings:
        assert getattr(ours, name) == getattr(theirs, name)
    assert (ours.is_ssl, ours.address, ours.forwarded_allow_networks()) == (
        theirs.is_ssl, theirs.address, theirs.forwarded_allow_networks()
    )  # fmt: skip


class _Out:
    def __init__(self) -> None:
        self.written = b""

    def sendall(self, data: bytes) -> None:
        self.written += data


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
@pytest.mark.parametrize("status", [200, 404, 503])
def test_the_same_envelope_is_sent_as_by_werkzeug(method: str, status: int) -> None:
    environ = EnvironBuilder(method=method).get_environ()

    def sent(kind: type[Response]) -> Any:
        return run_wsgi_app(kind(envelope_text(status, "ü"), status, {"Retry-After": "1"}), environ, buffered=True)

    ours, theirs = sent(PlainAnswer), sent(Response)
    assert (b"".join(ours[0]), ours[1], ours[2].to_wsgi_list()) == (
        b"".join(theirs[0]),
        theirs[1],
        theirs[2].to_wsgi_list(),
    )


def test_there_is_nothing_to_tear_down_after_a_request() -> None:
    app = World().app
    assert not app.teardown_request_funcs
    assert not app.teardown_appcontext_funcs
    assert not request_tearing_down.receivers
    assert not appcontext_tearing_down.receivers
