"""What the phones behind the emulated sender show: its events, played again in the order in which they came.

An alert takes the place of one about the same message. A withdrawal takes that of its message away, and where it was
read those of the conversation before it, as docs/channels-http.md tells senders to do.
"""

from collections.abc import Iterable, Mapping
from typing import Any

_Entry = Mapping[str, Any]


def phones_of(journal: Iterable[_Entry]) -> list[dict[str, Any]]:
    """Of all devices, and accounts without one, for which an alert was accepted; oldest alerts first."""
    phones: dict[str, dict[str, Any]] = {}
    for entry in journal:
        if entry["outcome"] != "accepted" or entry.get("type") not in ("alert", "withdrawal"):
            continue
        name = entry["device_id"] or entry["account"]
        phone = phones.setdefault(name, {"phone": name, "account": entry["account"], "badge": None, "shown": {}})
        if entry["type"] == "alert":
            phone["shown"].pop(entry["message_id"], None)  # so that it comes last again
            phone["shown"][entry["message_id"]] = _alert(entry)
            phone["badge"] = entry.get("badge", phone["badge"])
        else:
            phone["shown"] = {item: it for item, it in phone["shown"].items() if not _is_withdrawn(it, entry)}
    return [{**phone, "shown": list(phone["shown"].values())} for phone in phones.values()]


def _alert(entry: _Entry) -> dict[str, Any]:
    texts = {name: entry.get(name, "") for name in ("title", "group", "body", "conversation", "sequence")}
    return {"message_id": entry["message_id"], **texts, "came_ms": entry["monotonic_ms"]}


def _is_withdrawn(alert: Mapping[str, Any], entry: _Entry) -> bool:
    if alert["message_id"] == entry["message_id"]:
        return True
    if entry["reason"] != "read" or not (alert["sequence"] and entry.get("sequence")):
        return False
    is_before = int(alert["sequence"]) <= int(entry["sequence"])
    return alert["conversation"] == entry.get("conversation") and is_before
