"""The attacker, a process of its own: a number of sockets that are slow, silent or busy until its input ends.

    python -m tests.attacks.attacker

The first line of the input is the order, a JSON object: port, sockets, addresses to come from, and either opening, drop
and every_s (kinds.Drip) or request and per_second (kinds.Flood). Only 127.0.0.1 is attacked. A connection that ends is
opened again: at once after an answer, else after a second. Prints {"answers": {status: times}, "ended": times,
"most_open": sockets}.
"""

import heapq
import json
import random
import re
import resource
import selectors
import socket
import sys
import time
from collections import Counter, deque
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

_AGAIN_S = 1.0
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})")
_MOST_SECONDS = 600.0
_EARLY = 4096  # bytes kept of an answer


class Place:
    """One of the sockets: a connection at a time."""

    def __init__(self, number: int, address: str) -> None:
        self.number, self.address = number, address
        self.socket: socket.socket | None = None
        self.is_connected = False
        self.received = b""
        self.life = 0  # which connection it is: what was planned for an earlier one is over


class Attacker:
    def __init__(self, order: Mapping[str, Any]) -> None:
        self._order = order
        self._places = [
            Place(number, order["addresses"][number % len(order["addresses"])]) for number in range(order["sockets"])
        ]
        self._selector = selectors.DefaultSelector()
        self._plan: list[tuple[float, int, int, str]] = []  # when, place, its life, what
        self._idle = deque[tuple[Place, int]]()  # and its life
        self._offered = 0
        self._began = time.monotonic()
        self._open = 0
        self.answers, self.ended, self.most_open = Counter[str](), 0, 0

    def run(self, stop: Any) -> None:
        """Until `stop` can be read."""
        self._selector.register(stop, selectors.EVENT_READ, None)
        for place in self._places:
            self._later(place, 0.0, "open")
        while time.monotonic() < self._began + _MOST_SECONDS:
            self._do_what_is_due()
            for key, mask in self._selector.select(0.005 if self._idle or self._plan else 0.1):
                if key.data is None:
                    return
                self._look(key.data, mask)

    def _do_what_is_due(self) -> None:
        now = time.monotonic()
        while self._plan and self._plan[0][0] <= now:
            _, number, life, what = heapq.heappop(self._plan)
            place = self._places[number]
            if place.life != life:
                continue
            if what == "open":
                self._connect(place)
            else:
                self._send(place, self._order["drop"])
                self._later(place, self._order["every_s"], "drop")
        self._offer(now)

    def _offer(self, now: float) -> None:
        """Requests of a flood on the connections that have none under way."""
        if "request" not in self._order:
            return
        rate = self._order["per_second"]
        due = int((now - self._began) * rate) if rate else sys.maxsize
        while self._idle and self._offered < due:
            self._offered += 1
            place, life = self._idle.popleft()
            if place.life == life:
                self._send(place, numbered(self._order["request"]))
        self._offered = max(self._offered, due - int(rate)) if rate else 0  # what found no socket is not made up for

    def _connect(self, place: Place) -> None:
        place.socket = socket.socket()
        place.socket.setblocking(False)
        place.received = b""
        try:
            place.socket.bind((place.address, 0))
            place.socket.connect_ex(("127.0.0.1", self._order["port"]))
        except OSError:
            self._over(place)
        else:
            self._selector.register(place.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, place)

    def _look(self, place: Place, mask: int) -> None:
        if place.socket is None:
            return
        if not place.is_connected and mask & selectors.EVENT_WRITE:
            if place.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self._over(place)
                return
            self._connected(place)
        if mask & selectors.EVENT_READ:
            self._read(place)

    def _connected(self, place: Place) -> None:
        assert place.socket is not None
        place.is_connected = True
        self._open += 1
        self.most_open = max(self.most_open, self._open)
        self._selector.modify(place.socket, selectors.EVENT_READ, place)
        if "request" in self._order:
            self._idle.append((place, place.life))
        else:
            self._send(place, self._order["opening"])
            self._later(place, self._order["every_s"], "drop")

    def _read(self, place: Place) -> None:
        assert place.socket is not None
        try:
            some = place.socket.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            some = b""
        if not some:
            self._over(place)
            return
        place.received = (place.received + some)[:_EARLY]
        head, end, body = place.received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if "request" in self._order and end and length and len(body) >= int(length[1]):
            self._count(place)
            self._idle.append((place, place.life))

    def _send(self, place: Place, text: str) -> None:
        assert place.socket is not None
        try:
            with suppress(BlockingIOError):  # nothing is read of what came before: that is slow enough
                place.socket.send(text.encode())
        except OSError:
            self._over(place)

    def _over(self, place: Place) -> None:
        assert place.socket is not None
        self._open -= place.is_connected
        with suppress(KeyError):  # it could not even be bound
            self._selector.unregister(place.socket)
        place.socket.close()
        was_answered = self._count(place)
        self.ended += 1
        place.socket, place.is_connected = None, False
        place.life += 1
        self._later(place, 0.0 if was_answered and "request" in self._order else _AGAIN_S, "open")

    def _count(self, place: Place) -> bool:
        """Whether there was an answer."""
        found = _STATUS.match(place.received)
        if found:
            self.answers[found[1].decode()] += 1
        place.received = b""
        return found is not None

    def _later(self, place: Place, seconds: float, what: str) -> None:
        heapq.heappush(self._plan, (time.monotonic() + seconds, place.number, place.life, what))


def numbered(request: str) -> str:
    return re.sub("%", lambda _: f"{random.randrange(10**10):010}", request)


def main() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    attacker = Attacker(json.loads(sys.stdin.readline()))
    attacker.run(sys.stdin)
    told = {"answers": attacker.answers, "ended": attacker.ended, "most_open": attacker.most_open}
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main()
