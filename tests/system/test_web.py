"""The web process as it is shipped: gunicorn with two listeners, a store, and a TokenService to ask."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import pytest

from proxy.local.ports import free_port
from proxy.store.server.embedded import ensure_store, stop_store
from tests.listening import listens
from tests.mimc.upstream import answering, upstream
from tests.mimc.upstream import http as http_answer
from tests.web.world import APP_ID, JWT_KEY, URL_SECRET, bearer

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]
CALLBACK = f"/callbacks/mimc/{URL_SECRET}"
GOLDEN = b'{"code":200,  "data":{"token":"mimc-token-of-the-upstream"},"new":1.0}\n'


@dataclass
class Web:
    """A running gunicorn: `public` and `operator` are its ports."""

    process: subprocess.Popen[bytes]
    public: int
    operator: int
    folder: Path

    def log(self) -> str:
        return (self.folder / "log").read_text()


@pytest.fixture(scope="module")
def web() -> Iterator[Web]:
    with (
        tempfile.TemporaryDirectory(prefix="web-", dir="/tmp") as place,
        upstream(answering(http_answer(GOLDEN))) as mimc,
    ):
        folder = Path(place)
        ports = free_port(), free_port()
        (folder / "proxy.toml").write_text(configuration(*ports, ensure_store(folder / "store"), mimc.url))
        (folder / "tmp").mkdir()
        running = Web(start(folder), *ports, folder)
        try:
            await_listeners(running)
            yield running
        finally:
            running.process.kill() if running.process.poll() is None else None
            running.process.wait()
            stop_store(folder / "store")


def configuration(public: int, operator: int, store_url: str, mimc_url: str) -> str:
    return f"""
        [server]
        bind = "127.0.0.1:{public}"
        operator_bind = "127.0.0.1:{operator}"
        workers = 2
        threads = 4
        [store]
        url = "{store_url}"
        [auth.jwt.own]
        secret = "{JWT_KEY}"
        [apps.main]
        app_id = "{APP_ID}"
        app_key = "app-key-of-main"
        app_secret = "app-secret-of-main"
        url_secret = "{URL_SECRET}"
        base_url = "{mimc_url}"
    """


def start(folder: Path) -> subprocess.Popen[bytes]:
    unwanted = ("WEB_CONCURRENCY", "PROMETHEUS_MULTIPROC_DIR", "GUNICORN_CMD_ARGS")
    environ = {name: value for name, value in os.environ.items() if name not in unwanted}
    environ |= {"APP_PROXY_CONFIG": str(folder / "proxy.toml"), "TMPDIR": str(folder / "tmp")}
    command = [sys.executable, "-W", "error", "-m", "gunicorn", "-c", "config/gunicorn.conf.py", "wsgi:app"]
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(command, cwd=ROOT, env=environ, stdout=log, stderr=log)


def await_listeners(web: Web) -> None:
    deadline = time.monotonic() + 20
    while not (listens("127.0.0.1", web.public) and answered(web)):
        assert web.process.poll() is None, web.log()
        assert time.monotonic() < deadline, web.log()
        time.sleep(0.05)


def answered(web: Web) -> bool:
    try:
        return ask(web.operator, "GET", "/healthz").status == 200
    except OSError:
        return False


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def envelope(self) -> dict[str, object]:
        value: dict[str, object] = json.loads(self.body)
        return value


def ask(port: int, method: str, path: str, body: object = None, headers: dict[str, str] | None = None) -> Reply:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, json.dumps(body) if body is not None else None, headers or {})
        answer = connection.getresponse()
        return Reply(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
    finally:
        connection.close()


def speak(port: int, request: bytes, finish: bool = False) -> Reply:
    """Sends bytes as they are; `finish` ends our half of the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request)
        if finish:
            connection.shutdown(socket.SHUT_WR)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        return Reply(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())


def offline(sequence: int, **changes: object) -> dict[str, object]:
    return {
        "msgType": "OFFLINE_MSG",
        "fromAppId": APP_ID,
        "fromAccount": "1000",
        "toAppId": APP_ID,
        "toAccount": "1001",
        "payload": "d29yZHMgb2YgYSB1c2Vy",
        "timestamp": int(time.time() * 1000),
        "sequence": sequence,
    } | changes


def test_a_token_goes_through_byte_for_byte(web: Web) -> None:
    reply = ask(web.public, "POST", "/api/account/token", headers=bearer())
    assert (reply.status, reply.body) == (200, GOLDEN)
    assert (reply.headers["content-type"], reply.headers["cache-control"]) == ("application/json", "no-store")


def test_what_is_for_the_operator_is_on_their_listener_alone_whatever_host_is_named(web: Web) -> None:
    for host in (f"127.0.0.1:{web.public}", f"127.0.0.1:{web.operator}"):
        assert ask(web.public, "GET", "/metrics", headers={"Host": host}).status == 404
        assert ask(web.public, "GET", "/readyz", headers={"Host": host}).status == 404
        assert ask(web.operator, "GET", "/metrics", headers={"Host": host}).status == 200
        assert ask(web.operator, "GET", "/readyz", headers={"Host": host}).envelope["data"]
    assert ask(web.public, "GET", "/healthz").status == 404
    assert ask(web.operator, "POST", "/api/account/token", headers=bearer()).status == 404
    assert ask(web.operator, "POST", CALLBACK, offline(400)).status == 404
    assert ask(web.operator, "GET", "/metrics", headers={"Host": "rebound.example.com"}).status == 421


def test_a_callback_is_stored_once_and_its_repeat_says_so(web: Web) -> None:
    body = offline(1)
    first, second = (ask(web.public, "POST", CALLBACK, body) for _ in range(2))
    assert (first.status, first.envelope["data"]) == (200, {"duplicate": False})
    assert (second.status, second.envelope["data"]) == (200, {"duplicate": True})


def test_a_chunked_callback_is_taken(web: Web) -> None:
    raw = json.dumps(offline(2)).encode()
    head = f"POST {CALLBACK} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    assert speak(web.public, head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(raw), raw)).status == 200


def test_one_connection_carries_callbacks_after_an_error(web: Web) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", web.public, timeout=10)
    statuses = []
    for path, body in ((CALLBACK, "{"), ("/callbacks/mimc/wrong", "{}"), (CALLBACK, json.dumps(offline(3)))):
        connection.request("POST", path, body)
        answer = connection.getresponse()
        answer.read()
        statuses.append(answer.status)
    connection.close()
    assert statuses == [400, 404, 200]


def test_callers_who_come_at_once_each_get_their_own_answer(web: Web) -> None:
    """More of them than threads: some of their callbacks share a round trip to the store."""
    good, unreadable = json.dumps(offline(4)), "{"
    chunked = "5\r\nhello\r\n0\r\n\r\n"
    kinds = [
        (CALLBACK, f"Content-Length: {len(good)}", good, 200),
        (CALLBACK, f"Content-Length: {len(unreadable)}", unreadable, 400),
        ("/callbacks/mimc/wrong", f"Content-Length: {len(good)}", good, 404),
        (CALLBACK, "Transfer-Encoding: chunked", chunked, 400),
    ]
    with ExitStack() as stack:
        callers = [stack.enter_context(socket.create_connection(("127.0.0.1", web.public), 10)) for _ in range(64)]
        for _ in range(2):  # on the same connections again
            for caller, (path, field, body, _) in zip(callers, cycle(kinds), strict=False):
                caller.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\n{field}\r\n\r\n{body}".encode())
            for caller, (*_, status) in zip(callers, cycle(kinds), strict=False):
                answer = http.client.HTTPResponse(caller)
                answer.begin()
                assert (answer.status, json.loads(answer.read())["code"]) == (status, status)


HEAD = f"POST {CALLBACK} HTTP/1.1\r\nHost: x\r\n".encode()


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (f"POST {CALLBACK} HTP/1.1\r\n\r\n".encode(), 400),
        (HEAD + b"Content-Length: five\r\n\r\n", 400),
        (HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (HEAD + b"Bad Header: x\r\n\r\n", 400),
        (HEAD + b"Content-Length: 500\r\n\r\nshort", 400),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab", 400),
        (HEAD + b"Transfer-Encoding: br\r\n\r\n", 501),
        (HEAD + b"Content-Length: 1048577\r\n\r\n", 413),
        (HEAD.replace(b"mimc/", b"mimc/" + b"a" * 5000), 414),
        (HEAD + b"X: " + b"a" * 9000 + b"\r\n\r\n", 431),
    ],
)
def test_what_gunicorn_refuses_is_in_our_envelope_too(web: Web, request_bytes: bytes, status: int) -> None:
    reply = speak(web.public, request_bytes, finish=True)
    assert reply.status == status
    assert reply.headers["content-type"] == "application/json"
    assert reply.envelope["code"] == status
    assert URL_SECRET.encode() not in reply.body


def test_metrics_are_those_of_all_processes(web: Web) -> None:
    before = taken(web)
    for sequence in range(100, 130):
        assert ask(web.public, "POST", CALLBACK, offline(sequence)).status == 200
    assert [taken(web) for _ in range(6)] == [before + 30] * 6
    assert len({path.name.split("_")[-1] for path in (web.folder / "tmp").glob("*/counter_*.db")}) >= 2


def taken(web: Web) -> float:
    text = ask(web.operator, "GET", "/metrics").body.decode()
    line = re.search(r'^app_proxy_callbacks_total\{kind="OFFLINE_MSG",result="accepted"\} (\S+)$', text, re.MULTILINE)
    return float(line[1]) if line else 0.0


def test_without_a_store_callbacks_are_refused_and_taken_again_afterwards(web: Web) -> None:
    stop_store(web.folder / "store")
    for sequence in range(200, 206):
        reply = ask(web.public, "POST", CALLBACK, offline(sequence))
        assert (reply.status, reply.headers["retry-after"]) == (503, "5")
    deadline = time.monotonic() + 60
    while ask(web.operator, "GET", "/readyz").status != 503:  # an answer is good for a second
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert ask(web.operator, "GET", "/metrics").status == 200
    ensure_store(web.folder / "store")
    deadline = time.monotonic() + 60
    while ask(web.public, "POST", CALLBACK, offline(206)).status != 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_the_log_names_routes_and_no_secret(web: Web) -> None:
    authorization = bearer("user-of-the-log")
    deadline = time.monotonic() + 20
    while ask(web.public, "POST", "/api/account/token", headers=authorization).status != 200:  # a breaker may be open
        assert time.monotonic() < deadline
        time.sleep(0.2)
    ask(web.public, "POST", "/api/account/token", headers=authorization | {"X-Request-Id": "trace-1"})
    ask(web.public, "POST", CALLBACK + "x", offline(300), headers={"X-Request-Id": "trace-2"})
    ask(web.public, "POST", "/nowhere" + CALLBACK, offline(300), headers={"X-Request-Id": "trace-3"})
    deadline = time.monotonic() + 20
    while not all(f"trace-{number}" in web.log() for number in (1, 2, 3)):  # written by a thread, a little later
        assert time.monotonic() < deadline
        time.sleep(0.02)
    log = web.log()
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    (traced,) = [line for line in lines if line.get("request_id") == "trace-1" and line["event"] == "request"]
    assert (traced["route"], traced["status"], traced["method"]) == ("/api/account/token", 200, "POST")
    assert {line["route"] for line in lines if line["event"] == "request"} >= {"/callbacks/mimc/<url_secret>", "-"}
    for secret in (
        URL_SECRET,
        JWT_KEY,
        "app-secret-of-main",
        "app-key-of-main",
        "mimc-token-of-the-upstream",
        "words of a user",
        "d29yZHMgb2YgYSB1c2Vy",
        authorization["Authorization"][7:],
    ):
        assert secret not in log
    assert "Traceback" not in log


def test_sigterm_ends_it_and_leaves_no_metrics_behind(web: Web) -> None:
    assert list((web.folder / "tmp").iterdir())
    web.process.send_signal(signal.SIGTERM)
    assert web.process.wait(15) == 0
    assert list((web.folder / "tmp").iterdir()) == []
