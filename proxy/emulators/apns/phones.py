"""What iPhones show: their pushes, played again in the order in which they came.

An alert takes the place of one with the same apns-collapse-id (Apple, "Sending notification requests to APNs"), and
`aps.badge` is the number on the app's icon until the next one. A background push wakes the app, which removes the
alerts that it names, as docs/callbacks.md tells apps to do.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from types import MappingProxyType
from typing import Any

_Entry = Mapping[str, Any]


@dataclass
class Phone:
    """One app on one iPhone; `shown` by what it distinguishes alerts by, oldest first."""

    device_token: str
    phone: str | None = None
    badge: int | None = None
    badge_ms: int | None = None
    shown: dict[str, dict[str, Any]] = field(default_factory=dict)

    def receive(self, entry: _Entry) -> None:
        payload = entry["payload"]
        aps, data = payload["aps"], payload.get("mimc") or {}
        if entry["push_type"] == "background":
            self._wake(data)
        elif "alert" in aps:
            item = entry["collapse_id"] or entry["apns_id"]
            self.shown.pop(item, None)  # so that it comes last again
            facts = {"thread": aps.get("thread-id", ""), "came_ms": entry["came_ms"], "mimc": data}
            self.shown[item] = {"item": item, **_text(aps["alert"]), **facts}
        if "badge" in aps:
            self.badge, self.badge_ms = aps["badge"], entry["came_ms"]

    def describe(self) -> dict[str, Any]:
        return {
            "device_token": self.device_token, "phone": self.phone, "badge": self.badge, "badge_ms": self.badge_ms,
            "shown": list(self.shown.values()),
        }  # fmt: skip

    def _wake(self, data: Mapping[str, Any]) -> None:
        gone = {data.get("message")}
        if data.get("withdrawn") == "read" and (read := _number(data)) is not None:
            conversation = data.get("conversation")
            gone |= {
                item for item, alert in self.shown.items()
                if alert["mimc"].get("conversation") == conversation and (_number(alert["mimc"]) or read + 1) <= read
            }  # fmt: skip
        self.shown = {item: alert for item, alert in self.shown.items() if item not in gone}


def phones_of(journal: Iterable[_Entry], named: Mapping[str, str] = MappingProxyType({})) -> list[dict[str, Any]]:
    """Of all device tokens that have a name, and all for which a push was accepted."""
    phones = {device_token: Phone(device_token, name) for device_token, name in named.items()}
    for entry in sorted((entry for entry in journal if entry["accepted"]), key=itemgetter("came_ms")):
        token = entry["device_token"].lower()
        phones.setdefault(token, Phone(token)).receive(entry)
    return [phone.describe() for phone in phones.values()]


def _text(alert: Any) -> dict[str, str]:
    if not isinstance(alert, dict):
        return {"title": "", "subtitle": "", "body": str(alert)}
    texts = {name: alert.get(name, "") for name in ("title", "subtitle")}
    return {**texts, "body": alert.get("body", alert.get("loc-key", ""))}


def _number(data: Mapping[str, Any]) -> int | None:
    number = data.get("sequence")
    return int(number) if isinstance(number, str) and number.isdecimal() else None
