"""What strangers cannot do to the web: gunicorn as it is shipped, with one process and a thread of each kind."""

import itertools
import json
import re
import resource
import select
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from http.client import HTTPResponse
from pathlib import Path

import pytest
import requests

from tests.mimc.upstream import Conversation, upstream
from tests.system.rig import MAIN, URL_SECRET, Process, Rig, offline

CONNECTIONS = 40
DOORS = {
    "CALLBACK_THREADS": "1", "THREADS": "1", "MIMC_API_THREADS": "1", "SIGN_IN_THREADS": "1", "REQUEST_TIMEOUT_S": "3",
    "CONNECTIONS": str(CONNECTIONS), "CONNECTIONS_PER_ADDRESS": "20", "COLLECTED_MAX_BYTES": str(4 << 20),
    "ALLOWED_ORIGINS": "https://chat.example.com",
}  # fmt: skip
PAGE = "https://chat.example.com"
CALLBACK = f"/callbacks/mimc/{URL_SECRET[MAIN]}"
PIECES = {
    "idle": b"",
    "slow head": f"POST {CALLBACK} HTTP/1.1\r\nHost: x\r\nX-Slow: ".encode(),
    "slow body": f"POST {CALLBACK} HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n{{".encode(),
    "slow body to a wrong secret": b"POST /callbacks/mimc/wrong HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n{",
    "slow body to a sign-in": b"POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n{",
    "chunked": f"POST {CALLBACK} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx".encode(),
}


class Web:
    """The rig's only web process; `sequence` numbers honest callbacks."""

    def __init__(self, rig: Rig, process: Process) -> None:
        self.rig, self.process, self.sequence = rig, process, 0

    def connect(self, source: str = "127.0.0.1") -> socket.socket:
        port = int(self.rig.web.rpartition(":")[2])
        return socket.create_connection(("127.0.0.1", port), timeout=10, source_address=(source, 0))

    def callback(self) -> bytes:
        self.sequence += 1
        body = json.dumps(offline("bob", "alice", "hello", self.sequence)).encode()
        return f"POST {CALLBACK} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body

    def is_well(self) -> bool:
        """It takes a callback on a new connection, and answers the operator."""
        with self.connect() as connection:
            connection.sendall(self.callback())
            status, _ = read(connection)
        with requests.Session() as session:
            session.trust_env = False
            return status == 200 and session.get(f"{self.rig.operator}/healthz", timeout=10).status_code == 200

    def ended(self, reason: str) -> float:
        """Connections that it ended for this reason."""
        text = self.rig.http.get(f"{self.rig.operator}/metrics", timeout=10).text
        found = re.search(rf'^app_proxy_connections_ended_total\{{reason="{reason}"\}} (\S+)$', text, re.MULTILINE)
        return float(found[1]) if found else 0.0


@pytest.fixture(scope="module")
def web() -> Iterator[Web]:
    with (
        tempfile.TemporaryDirectory(prefix="rig-", dir="/tmp") as folder,
        Rig(Path(folder) / "r", without=("apns", "mipush")) as rig,
        upstream(never_answering) as mimc,
    ):
        yield Web(rig, rig.start_web(workers=1, **doors(rig, mimc.url)))


def never_answering(conversation: Conversation) -> None:
    conversation.receive()
    conversation.stall()


def doors(rig: Rig, mimc_url: str) -> dict[str, str]:
    variables = {f"APP_PROXY_SERVER__{name}": value for name, value in DOORS.items()}
    variables |= {f"APP_PROXY_APPS__{section}__BASE_URL": mimc_url for section in ("MAIN", "OTHER")}
    variables |= {f"APP_PROXY_LIMITS__SIGN_IN_PER_{by}": "off" for by in ("ACCOUNT", "ADDRESS")}
    variables |= {"APP_PROXY_TOKEN__TIMEOUT_S": "0.8", "APP_PROXY_TOKEN__CONNECT_TIMEOUT_S": "0.4"}
    variables |= {"APP_PROXY_APPS__MAIN__API": "push"}
    return variables | {"APP_PROXY_AUTH__ACCOUNTS__KEY": rig.secret("accounts", "k" * 48)}


def read(connection: socket.socket) -> tuple[int, HTTPResponse]:
    answer = HTTPResponse(connection)
    answer.begin()
    answer.read()
    return answer.status, answer


def has_ended(connection: socket.socket) -> bool:
    """The server has closed it; what it answered before does not matter."""
    connection.settimeout(10)
    try:
        while connection.recv(65_536):
            pass
    except ConnectionResetError:
        pass
    except TimeoutError:
        return False
    return True


def test_slow_callers_of_every_kind_hold_no_thread_and_are_given_up(web: Web) -> None:
    with ExitStack() as stack:
        slow: list[tuple[socket.socket, bytes]] = []
        for number, piece in enumerate(6 * list(PIECES.values())):
            slow.append((stack.enter_context(web.connect(f"127.0.0.{2 + number % 3}")), piece))
        for connection, piece in slow:
            connection.sendall(piece)
        for _ in range(6):
            assert web.is_well()
            time.sleep(0.2)
            for connection, piece in slow:
                if piece:
                    with suppress(OSError):  # a byte now and then does not help
                        connection.sendall(b"x")
        with web.connect("127.0.0.5") as late:
            late.sendall(PIECES["slow body"])
            status, answer = read(late)
            assert (status, answer.headers["Connection"]) == (408, "close")
            assert has_ended(late)
        assert all(has_ended(connection) for connection, _ in slow)


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (f"POST {CALLBACK} HTTP/1.1\r\nContent-Length: 9999999\r\n\r\n", 413),
        ("POST /callbacks/mimc/wrong HTTP/1.1\r\nContent-Length: 9999999\r\n\r\n", 413),
        ("POST /auth/login HTTP/1.1\r\nContent-Length: 99999\r\n\r\n", 413),
        ("POST /auth/login HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 99999\r\n\r\n", 413),
        ("POST /auth/login HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", 400),
        ("POST /auth/login HTTP/1.1\nHost: x\n\n", 400),
    ],
)
def test_after_an_early_refusal_the_connection_ends_and_the_rest_is_not_read(web: Web, head: str, status: int) -> None:
    with web.connect() as connection:
        connection.sendall(head.encode())
        told, answer = read(connection)
        assert (told, answer.headers["Connection"]) == (status, "close")
        assert has_ended(connection)


def test_at_the_cap_the_one_that_has_waited_longest_goes_and_the_newcomer_is_served(web: Web) -> None:
    def crowd() -> bool:
        with ExitStack() as stack:
            first, *_ = [stack.enter_context(web.connect(f"127.0.0.{5 + number % 4}")) for number in range(CONNECTIONS)]
            return web.is_well() and has_ended(first)

    web.rig.wait(lambda: crowd() and web.ended("crowded"), "a crowd")  # again where a slow machine took too long


def test_one_address_pushes_out_its_own_connections_and_the_setting_is_named(web: Web) -> None:
    def crowd() -> bool:
        with ExitStack() as stack:
            first, *_ = [stack.enter_context(web.connect("127.0.0.12")) for _ in range(21)]
            return web.is_well() and has_ended(first)

    web.rig.wait(lambda: crowd() and web.ended("address"), "too many of one address")
    web.rig.wait(lambda: "limits.trusted_proxies" in web.process.log.read_text(), "the warning")


def test_at_the_cap_of_bytes_the_one_that_has_held_them_longest_goes(web: Web) -> None:
    head = f"POST {CALLBACK} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000001\r\n\r\n".encode()

    def hold() -> bool:
        with ExitStack() as stack:
            first, *others = [stack.enter_context(web.connect("127.0.0.19")) for _ in range(5)]
            for connection in (first, *others):
                connection.sendall(head + bytes(1_000_000))
            return web.is_well() and has_ended(first)

    web.rig.wait(lambda: hold() and web.ended("bytes"), "too many bytes")


def test_calls_that_hang_take_nothing_from_callbacks_and_the_operator(web: Web) -> None:
    head = f"POST /api/account/token HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {web.rig.bearer('alice')}\r\n"
    body = json.dumps({"appId": MAIN})
    call = f"{head}Content-Length: {len(body)}\r\n\r\n{body}"
    with ExitStack() as stack:
        hanging = [stack.enter_context(web.connect(f"127.0.0.{13 + number % 2}")) for number in range(10)]
        for connection in hanging:
            connection.sendall(call.encode())
        assert all(web.is_well() for _ in range(3))
        assert read(hanging[0])[0] in {502, 503, 504}


def test_mimcs_own_calls_that_hang_take_nothing_from_what_else_clients_call(web: Web) -> None:
    bearer = {"Authorization": f"Bearer {web.rig.bearer('alice')}"}
    body = json.dumps({"toAccount": "bob", "msg": "hello", "msgType": ""})
    head = f"POST //api/push/p2p/ HTTP/1.1\r\nHost: x\r\nAuthorization: {bearer['Authorization']}\r\n"
    with ExitStack() as stack:
        hanging = [stack.enter_context(web.connect(f"127.0.0.{15 + number % 2}")) for number in range(6)]
        for connection in hanging:
            connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        answer = web.rig.http.get(f"{web.rig.web}/api/devices?app=main", headers=bearer, timeout=10)
        assert answer.status_code == 200
        assert len(select.select(hanging, [], [], 0)[0]) < len(hanging)  # it did not wait for its turn behind them
        assert web.is_well()
        assert {read(connection)[0] for connection in hanging} <= {502, 503, 504}


def test_sign_ins_without_a_thread_are_answered_503_and_take_nothing_from_callbacks(web: Web) -> None:
    body = json.dumps({"account": "nobody", "password": "wrong"})
    sign_in = f"POST /%61uth/login HTTP/1.1\r\nHost: x\r\nOrigin: {PAGE}\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    tries = itertools.count(1)

    def flood() -> list[tuple[int, HTTPResponse]]:
        """Empty where one was pushed out by what lingers of an earlier test."""
        network = next(tries)
        with ExitStack() as stack, suppress(ConnectionResetError):
            crowd = [stack.enter_context(web.connect(f"127.9.{network}.{1 + number % 2}")) for number in range(36)]
            for connection in crowd:
                connection.sendall(sign_in.encode())
            assert web.is_well()
            return [read(connection) for connection in crowd]
        return []

    answers = web.rig.wait(flood, "an answer to each")
    assert {status for status, _ in answers} == {401, 503}
    assert {answer.headers["Retry-After"] for status, answer in answers if status == 503} == {"1"}
    assert {answer.headers["Access-Control-Allow-Origin"] for _, answer in answers} == {PAGE}


def test_requests_that_come_together_are_answered_in_order(web: Web) -> None:
    with web.connect() as connection:
        last = web.callback().replace(b"Host: x", b"Connection: close")
        connection.sendall(web.callback() + b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n" + last)
        answers = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert re.findall(rb"HTTP/1.1 (\d+)", answers) == [b"200", b"404", b"200"]


def test_who_asks_before_sending_a_body_is_told_to_go_on(web: Web) -> None:
    head, _, body = web.callback().partition(b"\r\n\r\n")
    with web.connect() as connection:
        connection.sendall(head + b"\r\nExpect: 100-continue\r\n\r\n")
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert read(connection)[0] == 200


def test_who_does_not_read_answers_holds_no_thread(web: Web) -> None:
    asked = b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n" * 2000
    with web.connect() as connection, ThreadPoolExecutor(1) as sender:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sending = sender.submit(send_until_it_ends, connection, asked)
        assert all(web.is_well() for _ in range(3))
        with web.connect("127.0.0.17") as other:
            other.sendall(b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n")
            assert read(other)[0] == 404
        connection.shutdown(socket.SHUT_RDWR)
        sending.result()


def send_until_it_ends(connection: socket.socket, data: bytes) -> None:
    try:
        while True:
            connection.sendall(data)
    except OSError:
        pass


@pytest.mark.skipif(sys.platform != "linux", reason="limits of another process")
def test_as_many_files_may_be_open_as_the_system_allows(web: Web) -> None:
    (child,) = web.process.children()
    soft, hard = resource.prlimit(child, resource.RLIMIT_NOFILE)
    assert soft == hard


def test_a_stop_waits_for_a_request_that_is_on_its_way(web: Web) -> None:
    half = web.callback()
    with web.connect() as connection, web.connect() as kept:
        kept.sendall(web.callback())
        assert read(kept)[0] == 200
        connection.sendall(half[:-5])
        assert web.is_well()  # the bytes above have arrived
        web.process.popen.send_signal(signal.SIGTERM)
        web.rig.wait(lambda: "Handling signal: term" in web.process.log.read_text(), "the signal")
        connection.sendall(half[-5:])
        status, answer = read(connection)
        assert (status, answer.headers["Connection"]) == (200, "close")
    assert web.process.popen.wait(15) == 0
