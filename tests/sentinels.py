"""A master, two replicas and three sentinels on loopback, made of the server that the embedded store has.

The servers have two users: `default`, who may do anything, and `app`, as managed services give one: no admin's rights,
and nothing that is called dangerous. The sentinels have a password of their own.
"""

import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from proxy.local.ports import free_port
from proxy.store.server.embedded import server_binary

PASSWORD, APP_PASSWORD, SENTINEL_PASSWORD = "all-of-the-servers", "what-the-app-may", "asks-the-sentinels"
SERVICE = "mymaster"
DOWN_AFTER_MS = 500
EMPTY = '""'


class Child(Protocol):
    def kill(self) -> None: ...

    def signal(self, number: int, /) -> None: ...


Start = Callable[[str, Sequence[str]], Child]


class Replicated:
    """`start` runs a command under a name; what it runs is ended by whoever gave it."""

    def __init__(self, folder: Path, start: Start, replicas: int = 2, *, down_after_ms: int = DOWN_AFTER_MS) -> None:
        """`down_after_ms`: so long a server gives no answer before another takes its place."""
        self._folder, self._start, self._down_after_ms = folder, start, down_after_ms
        self.ports = [free_port() for _ in range(1 + replicas)]
        self.sentinel_ports = [free_port() for _ in range(3)]
        self._servers: dict[int, Child] = {}
        self._sentinels: dict[int, Child] = {}
        for port in self.ports:
            self.start_server(port, None if port == self.ports[0] else self.ports[0])
        self.wait(lambda: self.replicas_of(self.ports[0]) == replicas, "the replicas")
        for port in self.sentinel_ports:
            self._sentinels[port] = start("sentinel", [*self._sentinel_argv(port)])
        self.wait(lambda: all(map(self._is_watched, self.sentinel_ports)), "the sentinels")

    def url(self, user: str = "app") -> str:
        password = {"app": APP_PASSWORD, "default": PASSWORD}[user]
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.sentinel_ports)
        return f"redis+sentinel://{user}:{password}@{hosts}/{SERVICE}/0?sentinel_password={SENTINEL_PASSWORD}"

    def start_server(self, port: int, master: int | None = None) -> None:
        """Also again after it was killed: as a replica of `master`, or as what it was until the sentinels tell it."""
        folder = self._folder / f"server-{port}"
        folder.mkdir(parents=True, exist_ok=True)
        options = {
            "port": str(port), "bind": "127.0.0.1", "dir": str(folder), "save": "", "appendonly": "yes",
            "appendfsync": "always", "maxmemory-policy": "noeviction", "repl-diskless-sync-delay": "0",
            "requirepass": PASSWORD, "masterauth": PASSWORD,
            "user": f"app on >{APP_PASSWORD} ~proxy:* +@all -@admin -@dangerous",
        }  # fmt: skip
        if master:
            options["replicaof"] = f"127.0.0.1 {master}"
        config = folder / "server.conf"
        if master or not config.exists():  # the server writes there whose replica it is, once a sentinel has told it
            config.write_text("".join(f"{key} {value or EMPTY}\n" for key, value in options.items()))
        self._servers[port] = self._start("store", [str(server_binary()), str(config)])
        self.wait(lambda: self.server(port).ping(), "a server")

    def kill(self, port: int) -> None:
        """-9"""
        self._servers.pop(port).kill()

    @contextmanager
    def halted(self, port: int) -> Iterator[None]:
        """It neither answers nor follows meanwhile."""
        child = {**self._servers, **self._sentinels}[port]
        child.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            child.signal(signal.SIGCONT)

    def kill_sentinel(self, port: int) -> None:
        self._sentinels.pop(port).kill()

    @property
    def running(self) -> list[Child]:
        return [*self._servers.values(), *self._sentinels.values()]

    def is_well(self) -> bool:
        """The master that the sentinels name is one, and the others follow."""
        return self.replicas_of(self.master()) == len(self.ports) - 1

    def masters(self) -> list[int]:
        return [self.master()]

    def replica_of(self, master: int) -> int:
        return next(port for port in self._servers if port != master)

    def master(self) -> int:
        """As the sentinels say that still run."""
        for port in self._sentinels:
            try:
                return int(self.sentinel(port).execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)[1])
            except RedisError:
                continue
        raise AssertionError("no sentinel answers")

    def failover(self, *, coordinated: bool = False) -> int:
        """By command. Returns the new master once the sentinels name it.

        A coordinated one, which Valkey has from 9.0 on, halts the old master until the new one has all. Another leaves
        it a master for some seconds, with a replica that confirms what it takes.
        """
        before = self.master()
        command = "SENTINEL", "FAILOVER", SERVICE, *(["COORDINATED"] if coordinated else [])
        self.wait(lambda: self.sentinel(next(iter(self._sentinels))).execute_command(*command), "a failover")
        return self.moved_from(before)

    def moved_from(self, before: int) -> int:
        self.wait(lambda: self.master() != before, "another master")
        return self.master()

    def replicas_of(self, port: int) -> int:
        found = self.server(port).info("replication")
        replicas = [found[key] for key in found if key.startswith("slave") and isinstance(found[key], dict)]
        return sum(one["state"] == "online" for one in replicas)

    def server(self, port: int, **options: Any) -> Any:
        return _client(port, PASSWORD, **options)

    def sentinel(self, port: int) -> Any:
        return _client(port, SENTINEL_PASSWORD)

    def wait(self, look: Callable[[], Any], what: str, seconds: float = 30) -> None:
        until_true(look, what, seconds)

    def _is_watched(self, port: int) -> bool:
        """The sentinel knows its fellows and the replicas."""
        state = self.sentinel(port).sentinel_master(SERVICE)
        return bool(state["num-slaves"] == len(self.ports) - 1 and state["num-other-sentinels"] == 2)

    def _sentinel_argv(self, port: int) -> Iterator[str]:
        folder = self._folder / f"sentinel-{port}"
        folder.mkdir()
        ids = {other: f"{other:040x}" for other in self.sentinel_ports}
        lines = [
            f"port {port}", "bind 127.0.0.1", f"dir {folder}", f"requirepass {SENTINEL_PASSWORD}",
            f"sentinel myid {ids[port]}",
            f"sentinel monitor {SERVICE} 127.0.0.1 {self.ports[0]} 2", f"sentinel auth-pass {SERVICE} {PASSWORD}",
            f"sentinel down-after-milliseconds {SERVICE} {self._down_after_ms}",
            f"sentinel failover-timeout {SERVICE} 3000", f"sentinel parallel-syncs {SERVICE} 2",
            f"sentinel sentinel-pass {SENTINEL_PASSWORD}",
            # what they would find out by themselves within some seconds
            *(f"sentinel known-replica {SERVICE} 127.0.0.1 {other}" for other in self.ports[1:]),
            *(f"sentinel known-sentinel {SERVICE} 127.0.0.1 {other} {ids[other]}" for other in ids if other != port),
        ]  # fmt: skip
        (folder / "sentinel.conf").write_text("\n".join(lines) + "\n")
        yield from (str(server_binary()), str(folder / "sentinel.conf"), "--sentinel")


@contextmanager
def replicated(folder: Path, replicas: int = 2) -> Iterator[Replicated]:
    """With processes of its own, which end with it."""
    with with_children(folder) as start:
        yield Replicated(folder, start, replicas)


@contextmanager
def with_children(folder: Path) -> Iterator[Start]:
    """What it starts ends with it."""
    children: list[subprocess.Popen[bytes]] = []

    class Own:
        def __init__(self, name: str, argv: Sequence[str]) -> None:
            with (folder / f"{name}-{len(children)}.log").open("wb") as log:
                self._process = subprocess.Popen(argv, stdout=log, stderr=log)
            children.append(self._process)

        def signal(self, number: int, /) -> None:
            self._process.send_signal(number)

        def kill(self) -> None:
            self._process.kill()
            self._process.wait(10)

    try:
        yield Own
    finally:
        for child in children:
            child.kill()
        for child in children:
            child.wait(10)


def _client(port: int, password: str, **options: Any) -> Any:
    return Redis(port=port, password=password, socket_timeout=2, retry=Retry(NoBackoff(), 0), **options)


def until_true(look: Callable[[], Any], what: str, seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not _true(look):
        assert time.monotonic() < until, f"{what} did not come within {seconds} s"
        time.sleep(0.02)


def _true(look: Callable[[], Any]) -> Any:
    try:
        return look()
    except RedisError:
        return False
