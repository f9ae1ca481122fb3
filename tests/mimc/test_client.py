"""The TokenService's client, over real sockets."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from proxy.domain.transfers import FailureKind, Response, TransportFailure
from proxy.emulators.certificates import Certificates, ensure_certificates
from proxy.mimc.client import TokenClient
from proxy.mimc.echo import Echo
from proxy.mimc.passable import Passable
from proxy.settings import AppSettings, TokenSettings
from tests.mimc.upstream import Conversation, Serve, answering, http, upstream

GOLDEN = b'{"code":200,"message":"success","data":{"appId":"2882303761517000001","token":"a+/="},  "new":[1.0]}\r\n'
LIMITS = TokenSettings(connect_timeout_s=0.3, timeout_s=0.6)


def app_settings(url: str, **more: object) -> AppSettings:
    return AppSettings.model_validate(
        {
            "app_id": "2882303761517000001",
            "app_key": "the-key",
            "app_secret": "the-secret",
            "url_secret": "a-url-secret-of-32-characters-00",
            "base_url": url,
        }
        | more
    )


def client(url: str, ca_file: Path | None = None, limits: TokenSettings = LIMITS, **of: object) -> TokenClient:
    apps = {"main": app_settings(url, ca_file=ca_file, **of)}
    return TokenClient(apps, limits, Passable(apps, limits.echo_guard))


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return ensure_certificates(tmp_path_factory.mktemp("tls"))


def test_the_request_is_the_documented_one() -> None:
    with upstream(answering(http(GOLDEN))) as service:
        client(service.url).issue("main", "张三")
    head, _, body = service.requests[0].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /api/account/token HTTP/1.1"
    assert "Content-Type: application/json" in lines
    assert not [line for line in lines if line.lower().startswith("expect")]
    assert "Accept-Encoding: identity" in lines
    assert json.loads(body) == {
        "appId": "2882303761517000001",
        "appKey": "the-key",
        "appSecret": "the-secret",
        "appAccount": "张三",
    }


def test_an_apps_region_key_goes_along() -> None:
    with upstream(answering(http(GOLDEN))) as service:
        client(service.url, region_key="REGION_CN").issue("main", "ann")
    assert json.loads(service.requests[0].partition(b"\r\n\r\n")[2])["regionKey"] == "REGION_CN"


@pytest.mark.parametrize(
    ("raw", "status", "content_type", "body"),
    [
        (http(GOLDEN), 200, "application/json", GOLDEN),
        (http(b"\x00\xff", b"500 Oops", b"content-type:  text/x; a=B \r\n"), 500, "text/x; a=B", b"\x00\xff"),
        (http(b"", b"302 Found", b"Location: http://127.0.0.1:1/\r\n"), 302, None, b""),
        (http(GOLDEN, headers=b"Content-Type: a\x01b\r\n"), 200, None, GOLDEN),
        (b"HTTP/1.1 103 Early\r\nContent-Type: early\r\n\r\n" + http(GOLDEN), 200, "application/json", GOLDEN),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{\n \r\n1\r\n}\r\n0\r\n\r\n",
            200,
            None,
            b"{\n }",
        ),
    ],
)
def test_status_type_and_bytes_come_back_as_they_are(
    raw: bytes, status: int, content_type: str | None, body: bytes
) -> None:
    with upstream(answering(raw)) as service:
        answer = client(service.url).issue("main", "1000")
    assert isinstance(answer, Response)
    assert (answer.status, answer.headers.get("content-type"), answer.body) == (status, content_type, body)


# the same request in the hands of a gateway; tests/mimc/test_echo.py has the spellings
REPEATED = http(b'{"error":"unexpected","request":"c/of+app\\u003d="}')
REPEATING = {
    "body": REPEATED,
    "header": http(GOLDEN, headers=b"X-Request: %7B%22appSecret%22%3A%22c%2Fof%2Bapp%3D%3D%22%7D\r\n"),
    "interim answer": b"HTTP/1.1 103 Early\r\nX-Request: c/of+app==\r\n\r\n" + http(GOLDEN),
    "trailer": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX-Request: c/of+app==\r\n\r\n",
    "appKey": http(b"unexpected: 5371010101010"),
}


def asked_of(raw: bytes, guard: str) -> tuple[Response | TransportFailure, list[tuple[str, Echo]]]:
    found: list[tuple[str, Echo]] = []
    limits = TokenSettings.model_validate({"echo_guard": guard})
    with upstream(answering(raw)) as service:
        apps = {"main": app_settings(service.url, app_key="5371010101010", app_secret="c/of+app==")}
        passable = Passable(apps, limits.echo_guard, lambda app, echo: found.append((app, echo)))
        answer = TokenClient(apps, limits, passable).issue("main", "1000")
    return answer, found


@pytest.mark.parametrize("place", list(REPEATING))
def test_an_answer_that_repeats_our_secrets_is_none_wherever_they_are(place: str) -> None:
    refused = TransportFailure("answer repeats our credentials", FailureKind.WITHHELD)
    assert asked_of(REPEATING[place], "refuse") == (refused, [("main", Echo.ANSWER)])


@pytest.mark.parametrize("edge", [16 * 1024, 64 * 1024, 128 * 1024])
def test_a_secret_across_the_edge_of_what_is_read_at_once_is_found(edge: int) -> None:
    for inside in (1, 5, 10):
        body = b"x" * (edge - inside) + b"c/of+app==" + b"x" * 100
        assert asked_of(http(body), "refuse")[1] == [("main", Echo.ANSWER)]


def test_the_guard_may_report_alone() -> None:
    answer, found = asked_of(REPEATED, "report")
    assert isinstance(answer, Response)
    assert (answer.body, found) == (REPEATED.partition(b"\r\n\r\n")[2], [("main", Echo.ANSWER)])


def test_a_security_key_that_is_our_secret_is_passed_on_and_reported() -> None:
    body = b'{"code":200,"data":{"miUserSecurityKey":"c\\/of+app==", "token":"x"}}'
    answer, found = asked_of(http(body), "refuse")
    assert isinstance(answer, Response)
    assert (answer.body, found) == (body, [("main", Echo.SECURITY_KEY)])


@pytest.mark.parametrize(
    "headers",
    [
        b"Content-Encoding: gzip\r\n",
        b"content-encoding: identity\r\nContent-Encoding: br\r\n",
        b"Content-Encoding: identity, deflate\r\n",
        b"Transfer-Encoding: gzip\r\n",
    ],
)
def test_an_answer_in_an_encoding_that_we_did_not_ask_for_is_none(headers: bytes) -> None:
    with upstream(answering(http(GOLDEN, headers=headers))) as service:
        answer = client(service.url).issue("main", "1000")
    assert answer == TransportFailure("answer in an encoding that we did not ask for", FailureKind.WITHHELD)


def test_an_answer_that_says_identity_is_one() -> None:
    with upstream(answering(http(GOLDEN, headers=b"Content-Encoding: Identity\r\n"))) as service:
        assert isinstance(client(service.url).issue("main", "1000"), Response)


def test_a_connection_is_kept_from_call_to_call_and_by_each_thread() -> None:
    with upstream(answering(http(GOLDEN))) as service:
        tokens = client(service.url)
        answers = [tokens.issue("main", str(number)) for number in range(20)]
        assert service.connections == 1
        other = threading.Thread(target=tokens.issue, args=("main", "other"))
        other.start()
        other.join()
        assert service.connections == 2
    assert all(isinstance(answer, Response) and answer.body == GOLDEN for answer in answers)


def close_idle(conversation: Conversation) -> None:
    """One answer, then the end: what a balancer with a short idle time does."""
    conversation.receive()
    conversation.send(http(GOLDEN))


def close_on_second(conversation: Conversation) -> None:
    """Keeps the connection, reads the next request whole and ends without an answer."""
    close_idle(conversation)
    conversation.receive()


def never_answer(conversation: Conversation) -> None:
    conversation.receive()


@pytest.mark.parametrize("serve", [close_idle, close_on_second])
def test_a_closed_kept_connection_costs_at_most_one_repeat(serve: Serve) -> None:
    with upstream(serve) as service:
        tokens = client(service.url)
        for number in range(6):
            assert isinstance(tokens.issue("main", f"user-{number}"), Response)
    for number in range(6):
        assert 1 <= sum(b"user-%d" % number in request for request in service.requests) <= 2


def test_a_kept_connection_that_died_is_repeated_once_and_then_given_up() -> None:
    def serve(conversation: Conversation) -> None:
        close_on_second(conversation) if conversation.number == 1 else never_answer(conversation)

    with upstream(serve) as service:
        tokens = client(service.url)
        tokens.issue("main", "first")
        answer = tokens.issue("main", "second")
    assert answer == TransportFailure("connection closed without an answer", FailureKind.BROKEN)
    assert sum(b"second" in request for request in service.requests) == 2


def test_a_new_connection_that_dies_after_the_request_is_not_repeated() -> None:
    with upstream(never_answer) as service:
        answer = client(service.url).issue("main", "1000")
    assert answer == TransportFailure("connection closed without an answer", FailureKind.BROKEN)
    assert len(service.requests) == 1


@contextmanager
def within_budget(budget_s: float = LIMITS.timeout.total_seconds()) -> Iterator[None]:
    started = time.monotonic()
    yield
    assert time.monotonic() - started < budget_s + 5  # the service would never answer


def test_a_port_without_a_listener_is_a_refused_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with within_budget():
        answer = client(f"http://127.0.0.1:{port}").issue("main", "1000")
    assert answer == TransportFailure("connection refused", FailureKind.UNREACHABLE)


def test_a_failed_connect_is_tried_once_more_within_the_budget() -> None:
    """A listener whose backlog is full takes no connection: two tries of 0.2 s each."""
    limits = TokenSettings(connect_timeout_s=0.2, timeout_s=0.6)
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(full.getsockname())
        started = time.monotonic()
        answer = client(f"http://127.0.0.1:{full.getsockname()[1]}", limits=limits).issue("main", "1000")
        took = time.monotonic() - started
        for each in waiting:
            each.close()
    assert answer == TransportFailure("no answer in time", FailureKind.UNREACHABLE)
    assert took >= 0.38


def stall_at_once(conversation: Conversation) -> None:
    conversation.receive()
    conversation.stall()


def stall_in_head(conversation: Conversation) -> None:
    conversation.receive()
    conversation.send(b"HTTP/1.1 200 OK\r\nContent-")
    conversation.stall()


def stall_in_body(conversation: Conversation) -> None:
    conversation.receive()
    conversation.send(http(GOLDEN)[:-5])
    conversation.stall()


@pytest.mark.parametrize("serve", [stall_at_once, stall_in_head, stall_in_body])
def test_a_slow_service_is_given_up_in_time_and_not_asked_again(serve: Serve) -> None:
    limits = TokenSettings(connect_timeout_s=0.2, timeout_s=0.3)
    with upstream(serve) as service, within_budget(0.3):
        answer = client(service.url, limits=limits).issue("main", "1000")
    assert answer == TransportFailure("no answer in time", FailureKind.TIMED_OUT)
    assert len(service.requests) == 1


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "not HTTP"),
        (b"\x16\x03\x01\x00\x00", "not HTTP"),
        (b"HTTP/1.1 abc\r\n\r\n", "not HTTP"),
        (b"", "connection closed without an answer"),
        (http(GOLDEN)[:-5], "answer cut short"),
        (http(b"x" * (256 * 1024 + 1)), "answer too long"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (256 * 1024 + 1), "answer too long"),
    ],
)
def test_what_is_no_whole_http_answer_is_no_answer(raw: bytes, reason: str) -> None:
    def serve(conversation: Conversation) -> None:
        conversation.receive()
        conversation.send(raw)

    with upstream(serve) as service, within_budget():
        answer = client(service.url).issue("main", "1000")
    kind = FailureKind.WITHHELD if reason == "answer too long" else FailureKind.BROKEN
    assert answer == TransportFailure(reason, kind)
    assert len(service.requests) == 1


def test_tls_is_spoken_to_a_certificate_of_the_given_authority(certificates: Certificates) -> None:
    with upstream(answering(http(GOLDEN)), certificates.server_context()) as service:
        tokens = client(service.url, certificates.ca_file)
        for _ in range(3):
            answer = tokens.issue("main", "1000")
            assert isinstance(answer, Response)
            assert answer.body == GOLDEN
        assert service.connections == 1


def test_an_unknown_authority_is_not_told_the_secret(certificates: Certificates) -> None:
    with upstream(answering(http(GOLDEN)), certificates.server_context()) as service:
        answer = client(service.url).issue("main", "1000")
    assert answer == TransportFailure("certificate not trusted", FailureKind.UNREACHABLE)
    assert service.requests == []


def test_tls_to_a_service_without_it_fails() -> None:
    def serve(conversation: Conversation) -> None:
        conversation.connection.recv(100)
        conversation.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with upstream(serve) as service, within_budget():
        answer = client(service.url.replace("http:", "https:")).issue("main", "1000")
    assert answer == TransportFailure("TLS handshake failed", FailureKind.UNREACHABLE)


def test_the_environments_proxies_and_authorities_are_not_asked(
    monkeypatch: pytest.MonkeyPatch, certificates: Certificates
) -> None:
    for name in ("http_proxy", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.ca_file))
    monkeypatch.setenv("CURL_CA_BUNDLE", str(certificates.ca_file))
    with upstream(answering(http(GOLDEN))) as plain:
        assert isinstance(client(plain.url).issue("main", "1000"), Response)
    with upstream(answering(http(GOLDEN)), certificates.server_context()) as secure:
        untrusted = TransportFailure("certificate not trusted", FailureKind.UNREACHABLE)
        assert client(secure.url).issue("main", "1000") == untrusted


def test_two_apps_have_a_connection_each() -> None:
    with upstream(answering(http(b"one"))) as one, upstream(answering(http(b"two"))) as two:
        apps = {"one": client(one.url), "two": client(two.url)}
        bodies = {name: tokens.issue("main", "1000") for name, tokens in apps.items()}
    assert {name: answer.body for name, answer in bodies.items() if isinstance(answer, Response)} == {
        "one": b"one",
        "two": b"two",
    }
