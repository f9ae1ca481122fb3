"""What happens on the phones of a demo, line by line, as the emulators report it."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import requests

from proxy.local.apps import PhoneApps
from proxy.local.processes import DemoEnvironment

_LOOK_EVERY_S = 0.3
_END = 10**9  # after the last entry of any journal


@dataclass(frozen=True)
class PhoneEvent:
    """`what` happened on one phone, with which words. An iPhone without a name is known by the begin of its token."""

    phone: str
    what: str
    words: str

    def __str__(self) -> str:
        text = json.dumps(self.words, ensure_ascii=False)  # control characters become escapes
        return f"{self.phone:<14} {self.what:<6} {text}"


class Phones:
    """Reads the emulators' journals on from where it read last, at first from their end."""

    def __init__(self, environment: DemoEnvironment, apps: PhoneApps) -> None:
        ports = environment.ports
        self._http = requests.Session()
        self._http.trust_env = False
        self._apps = apps
        self._apns = f"http://127.0.0.1:{ports.apns_control}/_emulator"
        self._journals: dict[str, Callable[[dict[str, Any]], Iterator[PhoneEvent]]] = {
            f"{self._apns}/journal": self._on_iphones,
            f"http://127.0.0.1:{ports.mipush}/_emulator/journal": self._on_xiaomis,
            f"http://127.0.0.1:{ports.sender}/_emulator/journal": self._on_others,
        }
        self._last = {url: self._read(url, _END)["last"] for url in self._journals}
        self._shown: dict[tuple[str, str], str] = {}  # by phone and alert, to say which one goes
        self._gone: set[str] = set()  # iPhones whose app APNs called uninstalled

    def new_events(self) -> Iterator[PhoneEvent]:
        """Raises requests.RequestException while an emulator is away."""
        for url, events_in in self._journals.items():
            found = self._read(url, self._last[url])
            if found["last"] < self._last[url]:  # the emulator began anew
                found = self._read(url, 0)
            self._last[url] = found["last"]
            for entry in found["entries"]:
                yield from events_in(entry)
        yield from self._opened_again()

    def _on_iphones(self, entry: dict[str, Any]) -> Iterator[PhoneEvent]:
        name = self._apps.named(entry["device_token"])
        phone = name or f"iPhone {entry['device_token'][:4]}..."
        if entry["status"] == 410 and name:
            self._gone.add(name)
        if not entry.get("accepted"):
            return
        payload = entry["payload"]
        if alert := payload["aps"].get("alert"):
            yield self._shows(phone, entry["collapse_id"], f"{alert['title']}: {alert['body']}")
        elif "badge" in payload["aps"]:
            yield PhoneEvent(phone, "badge", str(payload["aps"]["badge"]))
        else:
            yield from self._drops(phone, (payload.get("mimc") or {}).get("message", ""))

    def _on_xiaomis(self, entry: dict[str, Any]) -> Iterator[PhoneEvent]:
        if entry.get("outcome") != "accepted":
            return
        if entry.get("kind") == "send":
            for phone in entry["shown_on"]:
                words = f"{entry['shown_title']}: {entry['shown_description']}"
                yield self._shows(phone, str(entry["notify_id"]), words)
        elif entry.get("kind") == "revoke":
            for phone in entry["gone_from"]:
                yield from self._drops(phone, str(entry["notify_id"]))

    def _on_others(self, entry: dict[str, Any]) -> Iterator[PhoneEvent]:
        if entry.get("outcome") != "accepted":
            return
        phone = entry.get("device_id") or entry.get("account", "")
        if entry.get("type") == "alert":
            yield self._shows(phone, entry["message_id"], f"{entry['title']}: {entry['body']}")
        elif entry.get("type") == "withdrawal":
            yield from self._drops(phone, entry["message_id"])

    def _opened_again(self) -> Iterator[PhoneEvent]:
        """Once APNs takes pushes for it again, the user of a phone that it called gone opens the app."""
        for phone in sorted(self._gone):
            faults = self._http.get(f"{self._apns}/faults", timeout=30).json()["faults"]
            if all(fault["effect"] != "answer" for fault in faults) and self._apps.start_again(phone):
                self._gone.discard(phone)
                yield PhoneEvent(phone, "opens", "the app, which registers the phone again")

    def _shows(self, phone: str, item: str, words: str) -> PhoneEvent:
        self._shown[phone, item] = words
        return PhoneEvent(phone, "shows", words)

    def _drops(self, phone: str, item: str) -> Iterator[PhoneEvent]:
        if words := self._shown.pop((phone, item), None):
            yield PhoneEvent(phone, "drops", words)

    def _read(self, url: str, after: int) -> Any:
        answer = self._http.get(url, params={"after": after}, timeout=30)
        answer.raise_for_status()
        return answer.json()


@contextmanager
def following(phones: Phones, say: Callable[[str], None]) -> Iterator[None]:
    """While the block runs, each new event is said."""
    ended = threading.Event()

    def follow() -> None:
        while not ended.wait(_LOOK_EVERY_S):
            with suppress(requests.RequestException):  # an emulator that died is started again
                for event in phones.new_events():
                    say(f"{time.strftime('%H:%M:%S')}  {event}")

    threading.Thread(target=follow, name="phones", daemon=True).start()
    try:
        yield
    finally:
        ended.set()
