"""After a failover the address leads to another server: whoever hears the old one say so leaves it at once."""

import asyncio
import socketserver
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from redis.exceptions import RedisError

from proxy.domain.limits import Budget
from proxy.errors import StoreUnavailable
from proxy.store.connection import Store, async_redis
from proxy.store.scripts import ask
from proxy.store.users.admission import RedisAdmission
from tests.store.samples import NOON

ANSWERS = [
    b"READONLY You can't write against a read only replica.",
    b"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    b"UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)",
    b"NOREPLICAS Not enough good replicas to write.",
    b"LOADING Redis is loading the dataset in memory",
]


class Demoted:
    """A server that says the same to every command. `heard` has each command, as the number of its connection."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.heard: list[int] = []
        self.connections = 0

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Its URL."""
        outer = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                outer.connections += 1
                number = outer.connections
                while head := self.rfile.readline():
                    for _ in range(2 * int(head[1:])):  # the length and the text of each word
                        self.rfile.readline()
                    outer.heard.append(number)
                    self.wfile.write(b"-%s\r\n" % outer.answer)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True

        with Server(("127.0.0.1", 0), Handler) as server:
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            try:
                yield f"redis://127.0.0.1:{server.server_address[1]}/0"
            finally:
                server.shutdown()
                thread.join()


def by_the_web_and_the_commands(url: str) -> None:
    store, times = Store(url, clock=iter(range(0, 1000, 10)).__next__), range(3)
    for _ in times:
        with suppress(StoreUnavailable):
            store.call(lambda redis: redis.set("text", "more"))


def by_the_limits(url: str) -> None:
    store = Store("redis://127.0.0.1:1/0")
    admission = RedisAdmission(store, lambda: NOON, Store(url, clock=iter(range(0, 1000, 10)).__next__))
    for _ in range(3):
        with suppress(StoreUnavailable):
            admission.spend([Budget("token_per_account", 1, 60_000, "ann")], None)


def by_the_worker(do: Callable[[Any], Any]) -> Callable[[str], None]:
    async def scenario(url: str) -> None:
        redis = async_redis(url, timeout_s=5.0)
        for _ in range(3):
            with suppress(RedisError):
                await do(redis)
        await redis.aclose()

    return lambda url: asyncio.run(scenario(url))


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer.split()[0].decode())
@pytest.mark.parametrize(
    "call",
    [
        by_the_web_and_the_commands,
        by_the_limits,
        by_the_worker(lambda redis: ask(redis, [("SET", "text", "more")])),
        by_the_worker(lambda redis: redis.set("text", "more")),
        by_the_worker(lambda redis: redis.pipeline(transaction=False).set("text", "more").execute()),
    ],
    ids=["web and commands", "limits", "worker's round trips", "worker's commands", "worker's pipelines"],
)
def test_a_server_that_is_no_master_is_never_asked_twice_over_one_connection(
    call: Callable[[str], None], answer: bytes
) -> None:
    server = Demoted(answer)
    with server.serving() as url:
        call(url)
    assert len(server.heard) >= 3
    assert len(set(server.heard)) == len(server.heard)


@pytest.mark.one_server
def test_what_one_thread_hears_makes_all_threads_leave(store_url: str) -> None:
    """A thread that only reads would hear no error there, and go on with what the old server knows."""
    store = Store(store_url, clock=iter(range(0, 1000, 10)).__next__)

    def connection() -> int:
        return int(store.call(lambda redis: redis.client_id()))

    with ThreadPoolExecutor(1) as reader:
        before = reader.submit(connection).result()
        with pytest.raises(StoreUnavailable):
            store.call(lambda redis: redis.eval("return redis.error_reply('READONLY as replicas say')", 0))
        assert reader.submit(connection).result() != before
