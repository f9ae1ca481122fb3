"""What the phones of a demo show, as the emulators report it."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import requests

from proxy.local.processes import DemoEnvironment

_LOOK_EVERY_S = 0.3
_END = 10**9  # after the last entry of any journal


@dataclass(frozen=True)
class ShownAlert:
    """An alert on one phone. An iPhone is known by the begin of its push token."""

    phone: str
    title: str
    body: str

    def __str__(self) -> str:
        text = json.dumps(f"{self.title}: {self.body}", ensure_ascii=False)  # control characters become escapes
        return f"{self.phone:<14} shows  {text}"


class Phones:
    """Reads the emulators' journals on from where it read last, at first from their end."""

    def __init__(self, environment: DemoEnvironment) -> None:
        ports = environment.ports
        self._http = requests.Session()
        self._http.trust_env = False
        self._journals = {
            f"http://127.0.0.1:{ports.apns_control}/_emulator/journal": _iphone_alerts,
            f"http://127.0.0.1:{ports.mipush}/_emulator/journal": _xiaomi_alerts,
            f"http://127.0.0.1:{ports.sender}/_emulator/journal": _other_alerts,
        }
        self._last = {url: self._read(url, _END)["last"] for url in self._journals}

    def new_alerts(self) -> Iterator[ShownAlert]:
        """Raises requests.RequestException while an emulator is away."""
        for url, alerts_in in self._journals.items():
            found = self._read(url, self._last[url])
            if found["last"] < self._last[url]:  # the emulator began anew
                found = self._read(url, 0)
            self._last[url] = found["last"]
            for entry in found["entries"]:
                yield from alerts_in(entry)

    def _read(self, url: str, after: int) -> Any:
        answer = self._http.get(url, params={"after": after}, timeout=30)
        answer.raise_for_status()
        return answer.json()


@contextmanager
def following(phones: Phones, say: Callable[[str], None]) -> Iterator[None]:
    """While the block runs, each new alert is said."""
    ended = threading.Event()

    def follow() -> None:
        while not ended.wait(_LOOK_EVERY_S):
            with suppress(requests.RequestException):  # an emulator that died is started again
                for alert in phones.new_alerts():
                    say(f"{time.strftime('%H:%M:%S')}  {alert}")

    threading.Thread(target=follow, name="phones", daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def _iphone_alerts(entry: dict[str, Any]) -> Iterator[ShownAlert]:
    if entry.get("accepted"):
        alert = entry["payload"]["aps"]["alert"]
        yield ShownAlert(f"iPhone {entry['device_token'][:4]}...", alert["title"], alert["body"])


def _xiaomi_alerts(entry: dict[str, Any]) -> Iterator[ShownAlert]:
    if entry.get("kind") == "send" and entry.get("outcome") == "accepted":
        for phone in entry["shown_on"]:
            yield ShownAlert(phone, entry["shown_title"], entry["shown_description"])


def _other_alerts(entry: dict[str, Any]) -> Iterator[ShownAlert]:
    if entry.get("outcome") == "accepted" and entry.get("type") == "alert":
        yield ShownAlert(entry["device_id"] or entry["account"], entry["title"], entry["body"])
