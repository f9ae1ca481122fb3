"""A cluster on loopback: three masters, each with a replica, made of the server that the embedded store has.

The servers have two users, as those of sentinels.py: `default`, and `app` without an admin's rights.
"""

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.exceptions import RedisError
from redis.retry import Retry

from proxy.local.ports import free_port, port_taken
from proxy.store.server.embedded import server_binary
from tests.sentinels import APP_PASSWORD, DOWN_AFTER_MS, PASSWORD, Child, Start, until_true, with_children

_SLOTS = 16384


class Clustered:
    """`start` runs a command under a name; what it runs is ended by whoever gave it."""

    def __init__(
        self, folder: Path, start: Start, masters: int = 3, replicas: int = 1, *, down_after_ms: int = DOWN_AFTER_MS
    ) -> None:
        """`down_after_ms`: so long a node gives no word before another takes its place."""
        self._folder, self._start, self._down_after_ms = folder, start, down_after_ms
        self._replicas = replicas
        self.ports = [_free_port() for _ in range(masters * (1 + replicas))]
        self._servers: dict[int, Child] = {}
        self._ids: dict[int, str] = {}
        self._halted = set[int]()
        for port in self.ports:
            self._write_config(port)
            self._launch(port)
        for port in self.ports:
            self.wait(self.server(port).ping, "a server")
            self._ids[port] = self.server(port).execute_command("CLUSTER", "MYID").decode()
        for number, port in enumerate(self.ports[:masters]):
            self.server(port).execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            part = range(_SLOTS * number // masters, _SLOTS * (number + 1) // masters)
            self.server(port).execute_command("CLUSTER", "ADDSLOTS", *part)  # Redis 6.2 has no ADDSLOTSRANGE
        first, *others = self.ports
        for port in others:
            self.server(port).execute_command("CLUSTER", "MEET", "127.0.0.1", first)
        self.wait(lambda: all(self._known_by(port) == len(self.ports) for port in self.ports), "all nodes")
        for number, port in enumerate(self.ports[masters:]):
            follow = "CLUSTER", "REPLICATE", self._ids[self.ports[number % masters]]
            self.wait(partial(self.server(port).execute_command, *follow), "a replica")
        self.wait(self.is_well, "the cluster")

    def url(self, user: str = "app") -> str:
        password = {"app": APP_PASSWORD, "default": PASSWORD}[user]
        return f"redis+cluster://{user}:{password}@{','.join(f'127.0.0.1:{port}' for port in self.ports)}/"

    def start_server(self, port: int) -> None:
        """Again, after it was killed: it is a replica of whoever replaced it."""
        self._launch(port)
        self.wait(lambda: self.server(port).ping(), "a server")

    def kill(self, port: int) -> None:
        """-9"""
        self._servers.pop(port).kill()

    @contextmanager
    def halted(self, port: int) -> Iterator[None]:
        """It neither answers nor follows meanwhile."""
        child = self._servers[port]
        child.signal(signal.SIGSTOP)
        self._halted.add(port)
        try:
            yield
        finally:
            self._halted.discard(port)
            child.signal(signal.SIGCONT)

    @property
    def running(self) -> list[Child]:
        return list(self._servers.values())

    def is_well(self) -> bool:
        """All slots are served, every master has a replica that follows, and all nodes know that."""
        views = [self._masters_by(port) for port in self._servers]
        followed = not self._replicas or all(
            self.server(port).info("replication")["connected_slaves"] for port in views[0].values()
        )
        return followed and all(view == views[0] for view in views) and all(map(self._is_up, self._servers))

    def owner(self, key: str) -> int:
        """The port of the master of the key's slot, as those say that still run."""
        slot = key_slot(key.encode())
        for port in self._servers.keys() - self._halted:
            try:
                found = self._masters_by(port)
            except RedisError:
                continue
            return next(at for (first, last), at in found.items() if first <= slot <= last)
        raise AssertionError("no node answers")

    def masters(self) -> list[int]:
        asked = next(port for port in self._servers if port not in self._halted)
        return list(dict.fromkeys(self._masters_by(asked).values()))

    def failover(self, master: int) -> int:
        """By command. Returns the new master once all know it."""
        replica = self.replica_of(master)
        self.server(replica).execute_command("CLUSTER", "FAILOVER")
        self.wait(lambda: replica in self.masters() and self.is_well(), "another master")
        return replica

    def replica_of(self, master: int) -> int:
        id_ = self._ids[master]
        lines = self.server(master).execute_command("CLUSTER", "REPLICAS", id_)
        return next(port for port in self.ports if any(line.split()[0].decode() == self._ids[port] for line in lines))

    def migrate(self, key: str, to: int, between: Callable[[], None] = lambda: None) -> None:
        """The key's slot with all that it holds goes to that node; `between` runs when none of it is there yet."""
        slot, source = key_slot(key.encode()), self.owner(key)
        target, at = self.server(to), self.server(source)
        target.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", self._ids[source])
        at.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", self._ids[to])
        between()
        while names := at.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 10):
            at.execute_command("MIGRATE", "127.0.0.1", to, "", 0, 5000, "AUTH", PASSWORD, "KEYS", *names)
        for one in (target, at, *(self.server(port) for port in self.masters() if port not in (to, source))):
            one.execute_command("CLUSTER", "SETSLOT", slot, "NODE", self._ids[to])

    def server(self, port: int, **options: Any) -> Any:
        return Redis(port=port, password=PASSWORD, socket_timeout=2, retry=Retry(NoBackoff(), 0), **options)

    def wait(self, look: Callable[[], Any], what: str, seconds: float = 30) -> None:
        until_true(look, what, seconds)

    def _launch(self, port: int) -> None:
        self._servers[port] = self._start("store", [str(server_binary()), str(self._folder / f"node-{port}" / "conf")])

    def _write_config(self, port: int) -> None:
        folder = self._folder / f"node-{port}"
        folder.mkdir(parents=True)
        options = {
            "port": str(port), "bind": "127.0.0.1", "dir": str(folder), "save": '""', "appendonly": "yes",
            "appendfsync": "always", "maxmemory-policy": "noeviction", "repl-diskless-sync-delay": "0",
            "requirepass": PASSWORD, "masterauth": PASSWORD,
            "user": f"app on >{APP_PASSWORD} ~proxy:* +@all -@admin -@dangerous +cluster|slots",  # 6.2: of @admin
            "cluster-enabled": "yes", "cluster-config-file": "nodes", "cluster-node-timeout": str(self._down_after_ms),
            "cluster-replica-validity-factor": "0", "cluster-require-full-coverage": "yes" if self._replicas else "no",
        }  # fmt: skip
        (folder / "conf").write_text("".join(f"{key} {value}\n" for key, value in options.items()))

    def _known_by(self, port: int) -> int:
        return int(self.server(port).execute_command("CLUSTER INFO")["cluster_known_nodes"])

    def _is_up(self, port: int) -> bool:
        return bool(self.server(port).execute_command("CLUSTER INFO")["cluster_state"] == "ok")

    def _masters_by(self, port: int) -> dict[tuple[int, int], int]:
        """By their slots."""
        found: Sequence[Any] = self.server(port).execute_command("CLUSTER", "SLOTS")
        return dict(sorted(((first, last), int(master[1])) for first, last, master, *_ in found))


@contextmanager
def clustered(folder: Path, masters: int = 3, replicas: int = 1) -> Iterator[Clustered]:
    """With processes of its own, which end with it."""
    with with_children(folder) as start:
        yield Clustered(folder, start, masters, replicas)


def _free_port() -> int:
    """One whose bus is free too: the servers talk to each other ten thousand above it."""
    while (port := free_port()) > 22_000 or port_taken("127.0.0.1", port + 10_000):
        pass
    return port
