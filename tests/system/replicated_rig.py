"""The rig with a store of several servers: a master, two replicas, three sentinels."""

from pathlib import Path
from typing import Any

from tests.sentinels import APP_PASSWORD, DOWN_AFTER_MS, PASSWORD, SENTINEL_PASSWORD, Replicated
from tests.system.rig import Process, Rig


class ReplicatedRig(Rig):
    """The program comes as a user without an admin's rights, and asks the sentinels for the master.

    `replicas`: how many must have a callback.
    """

    def __init__(self, folder: Path, *, replicas: int = 0, down_after_ms: int = DOWN_AFTER_MS, **changes: Any) -> None:
        super().__init__(folder, **changes)
        self._down_after_ms = down_after_ms
        self.replicas = replicas
        self.store_lines = [f"replicas = {replicas}"]

    def start_store(self) -> Process:
        for text in (PASSWORD, APP_PASSWORD, SENTINEL_PASSWORD):
            self.secret("a password of the store", text)
        self.servers = Replicated(self.folder / "servers", self.start, down_after_ms=self._down_after_ms)
        return self._processes[0]

    @property
    def store_address(self) -> str:
        return self.servers.url()

    def redis(self) -> Any:
        return self.servers.server(self.servers.master(), decode_responses=True, encoding_errors="surrogateescape")
