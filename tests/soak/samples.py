"""What is looked at every few seconds: memory and open files of each process, memory and keys of the store. Linux only.

A row's name says whose figure it is, and its unit. What a start needs until it is warm is left out by the caller.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.bench.processes import group
from tests.soak.judge import Allowance
from tests.system.rig import Process, Rig

MB = 2.0**20
MARKS = "marks"

# What each kind of figure may grow by, from the first quarter of the samples to the last.
ALLOWED: Mapping[str, Allowance] = {
    # the allocators' pools fill up to the greatest load that they meet: a worker's RSS rose ever less over its first
    # 25,000 pushes while the number of Python's objects stayed the same; in two quiet minutes
    # by half a megabyte
    "RSS": Allowance(share=0.02, amount=2 * MB),
    # connections that are just being made, and those to the store: a process opens one when more of its threads ask at
    # once than ever before; a lost one for each reset of a connection adds up to far more in an hour
    "open files": Allowance(share=0.1, amount=6),
    # buffers of clients
    "memory": Allowance(share=0.03, amount=0.25 * MB),
    # expired ones that the server has not swept yet, and two for each account that calls: this minute's and the last's
    "keys": Allowance(share=0.03, amount=60),
}


class ProcessesChanged(Exception):
    """One ended or was started anew, and took what it had gathered with it."""


class Watch:
    """Looks at the processes that were there at first. Raises ProcessesChanged where they are others."""

    def __init__(self, rig: Rig, web: Process, workers: list[Process]) -> None:
        self._redis = rig.redis()
        self._store = rig.store
        self._groups = {"web": web} | {f"worker {number}": worker for number, worker in enumerate(workers, 1)}
        self._pids = self._look_for_pids()

    def close(self) -> None:
        self._redis.close()

    def sample(self) -> dict[str, float]:
        if self._look_for_pids() != self._pids:
            raise ProcessesChanged(f"{self._look_for_pids()} instead of {self._pids}")
        found: dict[str, float] = {}
        for name, pid in self._pids.items():
            found[f"RSS: {name}"] = _rss(pid)
            found[f"open files: {name}"] = len(list(Path(f"/proc/{pid}/fd").iterdir()))
        return found | self._of_the_store()

    def _look_for_pids(self) -> dict[str, int]:
        """gunicorn's first process is the one that watches the others."""
        found = {"store": self._store.popen.pid}
        for name, process in self._groups.items():
            first, *children = sorted(group(process))
            found[name] = first
            found |= {f"{name} child {number}": pid for number, pid in enumerate(children, 1)}
        return found

    def _of_the_store(self) -> dict[str, float]:
        memory: Mapping[str, Any] = self._redis.info("memory")
        kinds = Counter(key.split(":")[2] for key in self._redis.scan_iter(match="proxy:{*", count=2000))
        marks, everything = kinds[MARKS], self._redis.dbsize()
        return {
            "memory: store, in use": memory["used_memory"],
            "keys: marks": marks,
            "keys: all others": everything - marks,
        }


def _rss(pid: int) -> int:
    """Resident set in bytes. Source: proc(5), VmRSS."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise ProcessesChanged(f"{pid} has ended")
