"""The Gate (gate.py) sends prebuilt pushes, as many at a time as a worker has in flight: a yardstick without a store.

    python -m tests.bench.gate_run < order.json

The order is one JSON object: url, ca_file, headers, body, count and at_once. Prints {"seconds", "cpu_s"}; the
connection is warm before the clock starts.
"""

import asyncio
import itertools
import json
import resource
import sys
import time
from collections.abc import Mapping
from typing import Any

from tests.bench import gate as yardstick

Gate: Any = yardstick.Gate  # kept as it was written, without types


async def send(order: Mapping[str, Any]) -> dict[str, float]:
    gate = Gate(order["ca_file"])
    numbers = itertools.count()

    async def push(number: int) -> None:
        url = f"{order['url']}/3/device/{number:064x}"
        outcome = await gate.send(url, order["headers"], order["body"])
        if outcome[0] != 200:
            raise AssertionError(f"push {number}: {outcome}")

    async def push_on() -> None:
        while (number := next(numbers)) < order["count"]:
            await push(number)

    await push(0)
    started, used = time.perf_counter(), _cpu_s()
    await asyncio.gather(*(push_on() for _ in range(order["at_once"])))
    found = {"seconds": time.perf_counter() - started, "cpu_s": _cpu_s() - used}
    await gate.multi.aclose()
    return found


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(send(json.load(sys.stdin)))))
