"""The rig with a store of several servers: a master, two replicas, three sentinels."""

from typing import Any

from tests.sentinels import APP_PASSWORD, PASSWORD, SENTINEL_PASSWORD, Replicated
from tests.system.rig import Process, Rig


class ReplicatedRig(Rig):
    """The program comes as a user without an admin's rights, and asks the sentinels for the master."""

    def start_store(self) -> Process:
        for text in (PASSWORD, APP_PASSWORD, SENTINEL_PASSWORD):
            self.secret("a password of the store", text)
        self.servers = Replicated(self.folder / "servers", self.start)
        return self._processes[0]

    @property
    def store_address(self) -> str:
        return self.servers.url()

    def redis(self) -> Any:
        return self.servers.server(self.servers.master(), decode_responses=True, encoding_errors="surrogateescape")
