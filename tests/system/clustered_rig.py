"""The rig with a cluster as its store: three masters, each with a replica."""

from pathlib import Path
from typing import Any

from redis.cluster import ClusterNode, RedisCluster

from tests import stored
from tests.clusters import Clustered
from tests.sentinels import APP_PASSWORD, DOWN_AFTER_MS, PASSWORD
from tests.system.rig import MAIN, Process, Rig


class ClusteredRig(Rig):
    """The program comes as a user without an admin's rights. `replicas`: how many must have a callback."""

    is_one_server = False

    def __init__(self, folder: Path, *, replicas: int = 0, down_after_ms: int = DOWN_AFTER_MS, **changes: Any) -> None:
        super().__init__(folder, **changes)
        self._down_after_ms = down_after_ms
        self.store_lines = [f"replicas = {replicas}"]

    def start_store(self) -> Process:
        for text in (PASSWORD, APP_PASSWORD):
            self.secret("a password of the store", text)
        self.servers = Clustered(self.folder / "servers", self.start, down_after_ms=self._down_after_ms)
        return self._processes[0]

    @property
    def store_address(self) -> str:
        return self.servers.url()

    @property
    def key(self) -> str:
        """One in the slot of some of the app's callbacks."""
        return self.keys()[0]

    def keys(self) -> list[str]:
        """One in the slot of each shard of the app."""
        with self.redis() as redis:
            return stored.callbacks(redis, MAIN)

    def backlog(self, app_id: str = MAIN, *, within_s: float | None = None) -> int:
        """No transaction spans nodes: what moved from one stream to another meanwhile is seen the second time."""
        return max(super().backlog(app_id, within_s=within_s), super().backlog(app_id, within_s=within_s))

    def redis(self) -> Any:
        """The library's own client, which shares no code with ours."""
        nodes = [ClusterNode("127.0.0.1", port) for port in self.servers.ports]  # type: ignore[no-untyped-call]  # theirs
        return RedisCluster(startup_nodes=nodes, password=PASSWORD, decode_responses=True)
