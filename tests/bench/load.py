"""The load, a process of its own: a fixed number of requests over kept connections, within a bounded time.

    python -m tests.bench.load < order.json

The order is one JSON object: port, path, headers, bodies, connections, per_second (0: as fast as answers come) and
most_seconds. Only 127.0.0.1 is called. With a rate, a request's time counts from when it was due, not from when a
connection was free for it. Prints {"seconds", "statuses", "p50_ms", "p99_ms", "sent_ns"}: the last in the order of the
bodies, by the monotonic clock.
"""

import json
import re
import selectors
import socket
import sys
import time
from collections import Counter, deque
from collections.abc import Mapping
from typing import Any

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Caller:
    """One connection with at most one request under way, which was due at `due`."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.due = 0.0
        self._received = b""

    def send(self, request: bytes, due: float) -> None:
        self.due = due
        self.socket.sendall(request)

    def status(self) -> int | None:
        """Of the answer, once it is here whole."""
        some = self.socket.recv(65536)
        if not some:
            raise ConnectionError("the server ended a kept connection")
        self._received += some
        head, end, body = self._received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not end or length is None or len(body) < int(length[1]):
            return None
        self._received = b""
        return int(head[9:12])


def fire(order: Mapping[str, Any]) -> dict[str, Any]:
    requests = [_request(order, body.encode()) for body in order["bodies"]]
    idle = deque(Caller(order["port"]) for _ in range(order["connections"]))
    statuses, waits, sent_ns = Counter[int](), list[float](), list[int]()
    with selectors.DefaultSelector() as selector:
        for caller in idle:
            selector.register(caller.socket, selectors.EVENT_READ, caller)
        every = 1 / order["per_second"] if order["per_second"] else 0.0
        started = time.perf_counter()
        sent = 0
        while len(waits) < len(requests):
            now = time.perf_counter()
            if now - started > order["most_seconds"]:
                raise TimeoutError(f"{len(waits)} of {len(requests)} requests were answered in time")
            while idle and sent < len(requests) and started + sent * every <= now:
                sent_ns.append(time.monotonic_ns())
                idle.popleft().send(requests[sent], started + sent * every if every else now)
                sent += 1
            is_early = idle and sent < len(requests)
            for key, _ in selector.select(max(0.0, started + sent * every - now) if is_early else 1.0):
                status = key.data.status()
                if status is not None:
                    statuses[status] += 1
                    waits.append(time.perf_counter() - key.data.due)
                    idle.append(key.data)
        seconds = time.perf_counter() - started
        for key in list(selector.get_map().values()):
            key.data.socket.close()
    waits.sort()
    p50_ms, p99_ms = (waits[int(len(waits) * share)] * 1000 for share in (0.5, 0.99))
    return {"seconds": seconds, "statuses": statuses, "p50_ms": p50_ms, "p99_ms": p99_ms, "sent_ns": sent_ns}


def _request(order: Mapping[str, Any], body: bytes) -> bytes:
    headers = {"Host": "127.0.0.1", "Content-Type": "application/json", **order["headers"]}
    lines = [f"POST {order['path']} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


if __name__ == "__main__":
    sys.stdout.write(json.dumps(fire(json.load(sys.stdin))))
