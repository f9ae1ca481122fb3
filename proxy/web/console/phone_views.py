"""What the page of the phones draws, made of what the emulators told."""

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from proxy.web.console.emulated import Seen

_ROWS = 14
_SAID_BY_APPS = ("TEXT_RECALL", "TEXT_READ")
_Entry = Mapping[str, Any]
# The emulators' clock is the monotonic one of this machine. Taken once: a part that did not change must stay the same.
_OFFSET_MS = time.time_ns() // 1_000_000 - time.monotonic_ns() // 1_000_000


@dataclass(frozen=True)
class AlertView:
    """`key` is of this arrival: an alert that takes another's place has a new one. `at` is HH:MM:SS of this machine."""

    key: str
    title: str
    subtitle: str
    body: str
    at: str


@dataclass(frozen=True)
class Thread:
    """The alerts of one conversation, newest first: with `person`, or in the group of that number."""

    person: str
    group: int | None
    alerts: list[AlertView]


@dataclass(frozen=True)
class PhoneView:
    """`kind` is iphone, xiaomi or other; `badge` None: no push has set it."""

    name: str
    kind: str
    badge: int | None
    threads: list[Thread]


@dataclass(frozen=True)
class MessageView:
    """`readers` maps each recipient to whether they have read it; `group` is the number of one."""

    sequence: str
    writer: str
    group: int | None
    text: str
    can_be_named: bool  # by a recall or a read
    is_recalled: bool
    readers: dict[str, bool]


@dataclass(frozen=True)
class Row:
    """One request: from `left` to `right`. `good` None: it had no answer, or one that is neither. No token is in it."""

    at: str
    left: str
    right: str
    request: str
    answer: str
    good: bool | None
    body: str


def phones_of(seen: Seen) -> list[PhoneView]:
    named, groups = _iphone_names(seen), _groups(seen)
    iphones = [("iphone", named[it["device_token"]], it, _of_iphone) for it in seen.iphones]
    xiaomis = [("xiaomi", it["phone"], it, _of_xiaomi) for it in seen.xiaomis]
    others = [("other", it["phone"], it, _of_other) for it in seen.others]
    return [
        PhoneView(name, kind, it.get("badge"), _threads(name, groups, map(read, it["shown"])))
        for kind, name, it, read in (*iphones, *xiaomis, *others)
    ]


def messages_of(seen: Seen) -> list[MessageView]:
    """Newest first, without those by which apps recall and read."""
    groups = _groups(seen)
    said = [(it["type"], it["from_account"], it["text"]) for it in seen.messages]
    written = [it for it in seen.messages if it["type"] not in _SAID_BY_APPS]
    return [
        MessageView(
            it["sequence"], it["from_account"], groups.get(it.get("topic_id", "")), it["text"], bool(it["message_id"]),
            ("TEXT_RECALL", it["from_account"], it["message_id"]) in said,
            {
                who: ("TEXT_READ", who, it["message_id"]) in said
                for who in it["recipients"] if who != it["from_account"]
            },
        )
        for it in reversed(written[-6:])
    ]  # fmt: skip


def wire_of(seen: Seen) -> list[Row]:
    """Newest first."""
    names = _iphone_names(seen)
    rows = [(entry["monotonic_ms"], row) for entry in seen.journals["mimc"] for row in _from_mimc(entry)]
    rows += [(entry["monotonic_ms"], _to_apns(entry, names)) for entry in seen.journals["apns"]]
    rows += [(entry["monotonic_ms"], _to_mipush(entry)) for entry in seen.journals["mipush"] if entry.get("path")]
    rows += [(entry["monotonic_ms"], _to_sender(entry)) for entry in seen.journals["http"]]
    return [row for _, row in sorted(rows, key=lambda it: it[0], reverse=True)[:_ROWS]]


def _iphone_names(seen: Seen) -> dict[str, str]:
    """By device token, which the page itself does not show."""
    return {it["device_token"]: it["phone"] or f"iphone-{n}" for n, it in enumerate(seen.iphones, 1)}


def _groups(seen: Seen) -> dict[str, int]:
    """A number for each group, in the order in which they were first written to."""
    topics = dict.fromkeys(it["topic_id"] for it in seen.messages if "topic_id" in it)
    return {topic_id: number for number, topic_id in enumerate(topics, 1)}


def _threads(phone: str, groups: Mapping[str, int], shown: Iterable[tuple[str, AlertView]]) -> list[Thread]:
    """By conversation, that of the newest alert first."""
    threads: dict[str, list[AlertView]] = {}
    for conversation, alert in shown:
        named = AlertView(f"{phone} {alert.key}", alert.title, alert.subtitle, alert.body, alert.at)
        threads[conversation] = [named, *threads.pop(conversation, [])]
    return [_thread(conversation, groups, alerts) for conversation, alerts in reversed(threads.items())]


def _thread(conversation: str, groups: Mapping[str, int], alerts: list[AlertView]) -> Thread:
    kind, _, of = conversation.partition(":")
    return Thread(of if kind == "p2p" else "", groups.get(of) if kind == "topic" else None, alerts)


def _of_iphone(it: _Entry) -> tuple[str, AlertView]:
    key = f"{it['item']} {it['came_ms']}"
    return it["mimc"].get("conversation", ""), AlertView(
        key, it["title"], it["subtitle"], it["body"], _at(it["came_ms"])
    )


def _of_xiaomi(it: _Entry) -> tuple[str, AlertView]:
    data = json.loads(it["payload"] or "{}").get("mimc", {})
    key = f"{it['notify_id']} {it['came_ms']}"
    return data.get("conversation", ""), AlertView(key, it["title"], "", it["description"], _at(it["came_ms"]))


def _of_other(it: _Entry) -> tuple[str, AlertView]:
    key = f"{it['message_id']} {it['came_ms']}"
    return it["conversation"], AlertView(key, it["title"], it["group"], it["body"], _at(it["came_ms"]))


def _from_mimc(entry: _Entry) -> Iterator[Row]:
    """A callback of MIMC's, or a call of the service there."""
    at, status = _at(entry["monotonic_ms"]), entry.get("status")
    match entry["kind"]:
        case "callback":
            told = " duplicate" if entry["duplicate"] else ""
            body = f"{entry['msg_type']} {entry['packet_id']}"
            yield Row(
                at, "MIMC", "web", "POST /callbacks/mimc/***", f"{status or entry['error']}{told}", status == 200, body
            )
        case "token":
            yield Row(at, "web", "MIMC", "POST /api/account/token", str(status), entry["outcome"] == "accepted", "")
        case "api":
            request = f"{entry['method']} {entry['path']}"
            yield Row(at, "web", "MIMC", request, str(status), entry["outcome"] == "accepted", "")


def _to_apns(entry: _Entry, names: Mapping[str, str]) -> Row:
    phone = names.get(entry["device_token"].lower(), "iphone")
    is_answered = entry["answered"] and entry["status"]
    answer = " ".join(filter(None, (str(entry["status"]), entry["reason"]))) if is_answered else str(entry["lost"])
    good = entry["accepted"] if is_answered else None
    body = f"{entry['push_type']}, priority {entry['priority']}: {_json(entry['payload'])}"
    return Row(_at(entry["monotonic_ms"]), "worker", "APNs", f"POST /3/device/*** ({phone})", answer, good, body)


def _to_mipush(entry: _Entry) -> Row:
    told = {name: entry[name] for name in ("title", "description", "notify_id", "template_params") if entry.get(name)}
    answer = " ".join(map(str, filter(None, (entry["status"], _code(entry), entry.get("reason")))))
    verb = "GET" if entry["kind"] == "quota" else "POST"
    phones = ", ".join(entry.get("shown_on") or entry.get("gone_from") or [])
    request = f"{verb} {entry['path']}" + (f" ({phones})" if phones else "")
    has_no_phone = entry.get("code") == 20301  # of this account: no failure, and nothing that was pushed
    good = None if has_no_phone else entry["outcome"] == "accepted"
    return Row(_at(entry["monotonic_ms"]), "worker", "Mi Push", request, answer, good, _json(told) if told else "")


def _to_sender(entry: _Entry) -> Row:
    shown = ("type", "kind", "title", "group", "body", "badge", "reason", "conversation")
    told = {name: entry[name] for name in shown if entry.get(name) is not None}
    request = f"POST {entry['path']}" + (f" ({entry['device_id']})" if entry.get("device_id") else "")
    good = entry["outcome"] in ("accepted", "repeated", "told")
    return Row(_at(entry["monotonic_ms"]), "worker", "sender", request, str(entry["status"]), good, _json(told))


def _code(entry: _Entry) -> str:
    return f"code {entry['code']}" if entry.get("code") is not None else ""


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(", ", ": "))


def _at(monotonic_ms: int) -> str:
    return datetime.fromtimestamp((monotonic_ms + _OFFSET_MS) / 1000).astimezone().strftime("%H:%M:%S")
