"""A token call through the broker, bearer checked and MIMC asked over TLS, against an empty view; and what of it is the
look for our own secrets in MIMC's answer.

python -m tests.bench tokens
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path

from proxy.mimc.echo import EchoGuard
from tests.bench.figures import Row, Spread, number
from tests.bench.processes import MeasuredRig
from tests.bench.size import Size
from tests.bench.web import Target, compare, shoot, start_servers, start_stock
from tests.system.rig import MAIN

_ANSWER = (Path(__file__).parents[1] / "data/token_answer.json").read_bytes()
_LONG_ANSWER = _ANSWER.replace(b"5YmN", b"5YmN" * 110)  # real tokens have more than 400 characters
_HEAD = [b"HTTP/1.1 200 OK\r\n", b"Content-Type: application/json\r\n", b"Content-Length: 1000\r\n", b"\r\n"]


def measure(rig: MeasuredRig, size: Size) -> list[Row]:
    service, empty, empty_port = start_servers(rig, size)
    headers = {"Authorization": f"Bearer {rig.bearer('alice')}"}
    ours = Target(service, rig.web_port, "/api/account/token", bodies, headers)
    stock, stock_port = start_stock(rig, size)
    others = (Target(server, port, "/", bodies, headers) for server, port in ((empty, empty_port), (stock, stock_port)))
    rows, _ = compare("token call", ours, next(others), size, stock=next(others), most=2.4)
    calls_us = [shoot(ours, size.requests, size.connections).cpu_us for _ in range(size.rounds)]
    for process in (service, empty, stock):
        process.stop()
    return [*rows, _share_of_the_guard(calls_us, list(_guards_us(size)))]


def bodies(count: int) -> list[str]:
    return [json.dumps({"appId": MAIN, "appAccount": "alice"})] * count


def _share_of_the_guard(calls_us: list[float], guards_us: list[float]) -> Row:
    shares = [100 * guard / call for guard, call in zip(guards_us, calls_us, strict=True)]
    beside = f"{number(Spread.of(guards_us).middle)} us of {number(Spread.of(calls_us).middle)} us of CPU"
    return Row("token call: the echo guard, % of the call", Spread.of(shares), beside, most=3)


def _guards_us(size: Size) -> Iterator[float]:
    """The CPU of one look, in this process, once for each round."""
    guard = EchoGuard(["5371010101010", "b64-demo+secret/0123456789AB=="])
    for _ in range(size.rounds):
        started = time.process_time()
        for _ in range(size.requests):
            if guard.find(_HEAD, _LONG_ANSWER):
                raise AssertionError("the measured answer repeats no secret")
        yield (time.process_time() - started) / size.requests * 1e6
