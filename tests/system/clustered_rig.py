"""The rig with a cluster as its store: three masters, each with a replica."""

from typing import Any

from redis.cluster import ClusterNode, RedisCluster

from tests.clusters import Clustered
from tests.sentinels import APP_PASSWORD, PASSWORD
from tests.system.rig import MAIN, Process, Rig


class ClusteredRig(Rig):
    """The program comes as a user without an admin's rights."""

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
        """One in the slot of the app's callbacks."""
        return f"proxy:{{{MAIN}}}:callbacks"

    def redis(self) -> Any:
        """The library's own client, which shares no code with ours."""
        nodes = [ClusterNode("127.0.0.1", port) for port in self.servers.ports]  # type: ignore[no-untyped-call]  # theirs
        return RedisCluster(startup_nodes=nodes, password=PASSWORD, decode_responses=True)
