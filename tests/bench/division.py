"""How the store's work for a message divides over a cluster of three masters, each with a replica.

    python -m tests.bench.division [--messages N] [--groups N]

Commands are those of INFO commandstats, scripts' own included, less what the masters are asked while nothing happens.
MONITOR says which of them concern keys that lie in no shard, and so on one node, however many there are.
"""

import argparse
import re
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.bench.figures import machine, number
from tests.system.clustered_rig import ClusteredRig
from tests.system.rig import OTHER, SECTION, offline, offline_topic, push_token

MEMBERS = 500
_OF_SERVERS = re.compile(r"replconf|ping|info|cluster|monitor|auth|hello|client|command|config|wait|echo")
_TAG = re.compile(r'proxy:(\{[^}]*\}|[^: "]*)(?::([^: "]*))?')
_OF_A_SHARD = re.compile(r"\{\d+\.\d+\}")
_IDLE_S = 5.0
_OVER = "this is the end"
Counts = list[int]  # by master


class Division:
    """The processes, the group's members and the masters."""

    def __init__(self, rig: ClusteredRig) -> None:
        self._rig = rig
        self.masters = rig.servers.masters()
        self._sequence = 0
        rig.start_web(workers=1)
        rig.start_worker()
        for member in range(MEMBERS):
            assert rig.register(f"member-{member}", "phone", push_token(), app_id=OTHER).ok

    def idle(self) -> list[float]:
        """Commands a second on each."""
        before, began = self._asked(), time.monotonic()
        time.sleep(_IDLE_S)
        took = time.monotonic() - began
        return [(now - then) / took for now, then in zip(self._asked(), before, strict=True)]

    def of(self, messages: int, readers: int, idle: Sequence[float]) -> list[float]:
        """Commands for one message on each."""
        before, began = self._asked(), time.monotonic()
        self._write(messages, readers)
        took, asked = time.monotonic() - began, zip(self._asked(), before, idle, strict=True)
        return [max(now - then - each * took, 0) / messages for now, then, each in asked]

    def in_no_shard(self, messages: int, readers: int) -> Counter[str]:
        """Commands on such keys, by what they hold."""
        with self._overheard() as words:
            self._write(messages, readers)
        return Counter(name for one in words for name in map(_outside, one) if name)

    def _write(self, messages: int, readers: int) -> None:
        for _ in range(messages):
            self._sequence += 1
            members = [f"member-{(self._sequence + it) % MEMBERS}" for it in range(readers)]
            if readers == 1:
                body = offline(f"friend-{self._sequence}", members[0], "see you at seven", self._sequence, app_id=OTHER)
            else:
                topic_id = str(self._sequence)
                body = offline_topic("li", members, "hello", self._sequence, topic_id=topic_id, app_id=OTHER)
            assert self._rig.post(body, OTHER).ok
        self._rig.settled(OTHER)

    def _asked(self) -> Counts:
        found = []
        for port in self.masters:
            stats = self._rig.servers.server(port).info("commandstats")
            names = {name.removeprefix("cmdstat_"): name for name in stats}
            found.append(sum(stats[it]["calls"] for name, it in names.items() if not _OF_SERVERS.match(name)))
        return found

    @contextmanager
    def _overheard(self) -> Iterator[list[list[str]]]:
        words: list[list[str]] = []
        threads = [threading.Thread(target=_listen, args=[self._rig.servers.server(it), words]) for it in self.masters]
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        yield words
        for port in self.masters:
            self._rig.servers.server(port).echo(_OVER)
        for thread in threads:
            thread.join()


def _listen(server: Any, words: list[list[str]]) -> None:
    server.connection_pool.connection_kwargs["socket_timeout"] = None
    with server.monitor() as monitor:
        for said in monitor.listen():
            command = said["command"]
            if _OVER in command:
                return
            words.append(command.split(" ")[1:2])  # the first key; scripts' own commands come by themselves


def _outside(word: str) -> str:
    """What a key in no shard is called; "" for any other word."""
    found = _TAG.match(word)
    if found is None or _OF_A_SHARD.fullmatch(found[1]):
        return ""
    tag = "{appId}" if found[1] in {f"{{{app_id}}}" for app_id in SECTION} else found[1]
    return f"{tag}:{found[2]}" if found[2] and tag.startswith("{") and tag != "{appId}" else tag


def table(found: Mapping[str, Sequence[float]]) -> str:
    lines = ["| commands | master 1 | master 2 | master 3 | busiest / mean |", "|---|---|---|---|---|"]
    for what, counts in found.items():
        ratio = max(counts) * len(counts) / max(sum(counts), 1e-9)
        lines.append(f"| {what} | {' | '.join(map(number, counts))} | {ratio:.2f} |")
    return "\n".join(lines)


def measure(rig: ClusteredRig, messages: int, groups: int) -> str:
    division = Division(rig)
    division.of(20, 1, [0, 0, 0])  # warm
    idle = division.idle()
    found = {
        "while nothing happens, a second": idle,
        "a message between two": division.of(messages, 1, idle),
        f"a message to a group of {MEMBERS}": division.of(groups, MEMBERS, idle),
    }
    apart = division.in_no_shard(messages, 1)
    lines = [f"{name} {number(count / messages)}" for name, count in apart.most_common()]
    return f"{table(found)}\n\nKeys in no shard, commands for a message between two: {', '.join(lines)}\n"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.division", description="commands on each master")
    parser.add_argument("--messages", type=int, default=300, help="between two")
    parser.add_argument("--groups", type=int, default=4, help="messages to a group")
    order = parser.parse_args(argv)
    with (
        tempfile.TemporaryDirectory(prefix="bench-", dir="/tmp") as folder,
        ClusteredRig(Path(folder) / "r", without=("mimc", "mipush")) as rig,
    ):
        sys.stdout.write(f"{machine()}\n\n{measure(rig, order.messages, order.groups)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
