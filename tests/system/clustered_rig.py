"""The rig with a cluster as its store: three masters, each with a replica."""

from typing import Any

from redis.cluster import ClusterNode, RedisCluster

from tests import stored
from tests.clusters import Clustered
from tests.sentinels import APP_PASSWORD, PASSWORD
from tests.system.rig import MAIN, Process, Rig


class ClusteredRig(Rig):
    """The program comes as a user without an admin's rights."""

    is_one_server = False

    def start_store(self) -> Process:
        for text in (PASSWORD, APP_PASSWORD):
            self.secret("a password of the store", text)
        self.servers = Clustered(self.folder / "servers", self.start)
        return self._processes[0]

    @property
    def store_address(self) -> str:
        return self.servers.url()

    @property
    def key(self) -> str:
        """One in the slot of some of the app's callbacks."""
        with self.redis() as redis:
            return stored.callbacks(redis, MAIN)[0]

    def backlog(self, app_id: str = MAIN, *, within_s: float | None = None) -> int:
        """No transaction spans nodes: what moved from one stream to another meanwhile is seen the second time."""
        return max(super().backlog(app_id, within_s=within_s), super().backlog(app_id, within_s=within_s))

    def redis(self) -> Any:
        """The library's own client, which shares no code with ours."""
        nodes = [ClusterNode("127.0.0.1", port) for port in self.servers.ports]  # type: ignore[no-untyped-call]  # theirs
        return RedisCluster(startup_nodes=nodes, password=PASSWORD, decode_responses=True)
