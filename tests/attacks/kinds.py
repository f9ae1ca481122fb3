"""The attacks, as data: what a stranger's sockets send, and how fast."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.system.rig import MAIN, URL_SECRET

SOCKETS = (40, 200, 1000)
MANY = 200
OFFERED_PER_S = 300.0
_HOST = "Host: 127.0.0.1\r\n"


@dataclass(frozen=True)
class Drip:
    """Slow requests, which never end: `opening` at once, then `drop` every `every_s` seconds; "" sends nothing."""

    opening: str = ""
    drop: str = ""
    every_s: float = 3600.0


@dataclass(frozen=True)
class Flood:
    """Whole requests; each % is another random number. `per_second` of all sockets, 0: as fast as answers come."""

    request: str
    per_second: float = 0.0


@dataclass(frozen=True)
class Attack:
    """`at_most` is the limit of honest callers' p99 under the attack / without it; None: it is only stated."""

    name: str
    how: Drip | Flood
    at_most: float | None = 3.0

    def order(self, port: int, sockets: int, addresses: list[str]) -> dict[str, Any]:
        """For attacker.py."""
        return {"port": port, "sockets": sockets, "addresses": addresses, **vars(self.how)}


def addresses(block: int, many: bool) -> list[str]:
    """Sources on loopback, of which the service sees each as a client of its own; `block` numbers the run."""
    first = f"127.{64 + block % 128}"
    return [f"{first}.{net}.1" for net in range(MANY if many else 1)]


def _post(path: str, *headers: str) -> str:
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json", *headers]
    return "\r\n".join([*lines, "", ""])


def _slow_body(url_secret: str) -> Drip:
    return Drip(_post(f"/callbacks/mimc/{url_secret}", "Content-Length: 60000"), " ", 2)


def _sign_in() -> str:
    body = json.dumps({"account": "stranger-%", "password": "wrong-%"})
    # the marks become ten digits each, see attacker.py
    return _post("/auth/login", f"Content-Length: {len(body) + 2 * 9}") + body


_KILOBYTE = f"400\r\n{' ' * 1024}\r\n"
_WHOAMI = f"GET /api/devices HTTP/1.1\r\n{_HOST}Authorization: Bearer opaque-%\r\n\r\n"

SLOW = (
    Attack("slow-head", Drip(f"GET / HTTP/1.1\r\n{_HOST}X-Slow: ", "a", 4)),
    Attack("slow-body-right-secret", _slow_body(URL_SECRET[MAIN])),
    Attack("slow-body-wrong-secret", _slow_body("nobody-knows-this-secret-0123456789")),
    Attack("idle", Drip()),
    Attack("chunked-forever", Drip(_post("/api/account/token", "Transfer-Encoding: chunked"), _KILOBYTE, 1)),
)
FLOODS = (
    Attack("sign-in-flood", Flood(_sign_in(), OFFERED_PER_S)),
    Attack("sign-in-loop", Flood(_sign_in()), None),
    Attack("whoami-flood", Flood(_WHOAMI, OFFERED_PER_S)),
    Attack("whoami-loop", Flood(_WHOAMI), None),
)
ATTACKS: Mapping[str, Attack] = {attack.name: attack for attack in (*SLOW, *FLOODS)}
