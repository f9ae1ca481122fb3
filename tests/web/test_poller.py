"""The poller's turns, taken by hand: a fault of ours with one connection ends that one alone."""

import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from gunicorn.config import Config  # type: ignore[import-untyped]  # gunicorn has no types
from structlog.testing import capture_logs

from proxy.web.server import Worker
from tests.web.world import settings

REQUEST = b"GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def answer(_environ: object, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Length", "0")])
    return []


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.fixture
def worker(listener: socket.socket) -> Iterator[Worker]:
    worker = Worker(0, os.getppid(), [listener], None, 30, Config(), None)
    worker.settings, worker.PIPE = settings(), os.pipe()
    worker.wsgi = answer
    worker._open()
    yield worker
    worker._finish()  # or a thread that has answered still arms its socket after the poller is closed
    worker._poller.close()
    worker.tmp.close()
    for end in worker.PIPE:
        os.close(end)


@pytest.mark.parametrize("left_out", ["collector", "place in the crowd"])
def test_a_fault_with_one_connection_ends_it_and_the_next_is_answered(
    worker: Worker, listener: socket.socket, left_out: str
) -> None:
    with socket.create_connection(listener.getsockname()) as broken:
        while not worker._connections:
            worker._turn()
        (connection,) = worker._connections.values()
        if left_out == "place in the crowd":  # its books do not agree any more
            connection.door.crowd.remove(connection, connection.address)
        else:
            del connection.collector
        with capture_logs() as logged:
            broken.sendall(REQUEST)
            while worker._connections:
                worker._turn()
        assert "a connection failed in the server" in {line["event"] for line in logged}
    with socket.create_connection(listener.getsockname()) as well:
        well.sendall(REQUEST)
        well.settimeout(0.05)
        got = b""
        while not got:
            worker._turn()
            with suppress(TimeoutError):
                got = well.recv(100)
        assert got.startswith(b"HTTP/1.1 200 OK")
