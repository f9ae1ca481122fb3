"""What untouched keys cost: the same work on one stream in an empty store, beside many keys that were just
made, and beside the same keys once the store was started again.

    python -m tests.bench.untouched [--keys N]

The store alone is measured, without fsyncs: CPU of its main thread for an entry that is appended, read, looked at and
ended, 50 together.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from redis import Redis

from proxy.store.server.embedded import ensure_store, stop_store
from tests.bench.figures import Row, Spread, machine, table

_TOGETHER, _ENTRIES, _ROUNDS, _KEY_BYTES = 50, 5000, 5, 180


class UntouchedBench:
    """An embedded store of its own in `folder`, and its one stream."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> "UntouchedBench":
        self._redis: Redis = Redis.from_url(ensure_store(self._folder))
        self._redis.config_set("appendfsync", "no")
        self._process = int(self._redis.info("server")["process_id"])
        return self

    def __exit__(self, *error: object) -> None:
        self._redis.close()
        stop_store(self._folder)

    def begin(self) -> None:
        self._redis.xgroup_create("stream", "group", "0", mkstream=True)

    def make_keys(self, count: int) -> None:
        for first in range(0, count, 2000):
            pipeline = self._redis.pipeline(transaction=False)
            for key in range(first, first + 2000):
                pipeline.hset(f"key:{key}", "field", os.urandom(_KEY_BYTES))
            pipeline.execute()

    def row(self, what: str) -> Row:
        found, calls = list[float](), list[float]()
        for _ in range(_ROUNDS + 1):
            self._redis.config_resetstat()
            before = self._used_us()
            self._work()
            found.append((self._used_us() - before) / _ENTRIES)
            calls.append(self._redis.info("commandstats")["cmdstat_xreadgroup"]["usec_per_call"])
        return Row(f"{what}: CPU us of the store for an entry", Spread.of(found[1:]),
                   f"{median(calls[1:]):.0f} us for a read of {_TOGETHER}")  # fmt: skip

    def _used_us(self) -> float:
        """Source: sched-stats.rst."""
        return int(Path(f"/proc/{self._process}/schedstat").read_text().split()[0]) / 1000

    def _work(self) -> None:
        for _ in range(0, _ENTRIES, _TOGETHER):
            pipeline = self._redis.pipeline(transaction=False)
            for _ in range(_TOGETHER):
                pipeline.xadd("stream", {"r": b"x" * 120})
            ids = pipeline.execute()
            self._redis.xreadgroup("group", "worker", {"stream": ">"}, count=_TOGETHER)
            for id_ in ids:
                pipeline.xpending_range("stream", "group", id_, id_, 1)
                pipeline.xack("stream", "group", id_)
                pipeline.xdel("stream", id_)
            pipeline.execute()


def measure(folder: Path, keys: int) -> list[Row]:
    with UntouchedBench(folder) as bench:
        bench.begin()
        rows = [bench.row("no key")]
        bench.make_keys(keys)
        rows.append(bench.row(f"beside {keys:,} keys"))
    with UntouchedBench(folder) as bench:
        return [*rows, bench.row("beside the same, the store started again")]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.untouched", description="what untouched keys cost")
    parser.add_argument("--keys", type=int, default=300_000)
    order = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="bench-", dir="/tmp") as folder:
        sys.stdout.write(f"{machine()}\n\n{table(measure(Path(folder), order.keys))}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
