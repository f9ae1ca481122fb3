"""What users ask of their alerts, from the client's call to the phone: over the emulators."""

import base64
import json
import struct
import zoneinfo
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.system.rig import Process, Rig, offline, offline_topic, push_token

MUTED, GROUP = "readers have muted the conversation", "21351198708203521"


def set_preferences(rig: Rig, account: str, **of: Any) -> None:
    answer = rig.http.put(
        f"{rig.web}/api/preferences",
        json={"app": "main", **of},
        headers={"Authorization": f"Bearer {rig.bearer(account)}"},
        timeout=10,
    )
    assert answer.status_code == 200, answer.text


def naming(account: str, text: str) -> str:
    """A payload that names an account."""
    return base64.b64encode(json.dumps({"msgType": "TEXT", "payload": text, "mentions": [account]}).encode()).decode()


def shown(rig: Rig, phone: str, count: int) -> list[dict[str, Any]]:
    """The `aps` of so many pushes to this phone, once they are there."""
    rig.wait(lambda: len(rig.accepted(phone)) >= count, f"{count} pushes")
    return [push["payload"]["aps"] for push in rig.accepted(phone)]


def told(rig: Rig, account: str) -> list[tuple[str, str, bool]]:
    """What their own page says became of the messages for them, Mi Push left out."""
    answer = rig.http.get(
        f"{rig.web}/api/alerts?app=main", headers={"Authorization": f"Bearer {rig.bearer(account)}"}, timeout=10
    )
    alerts = answer.json()["data"]["alerts"]
    return [(it["conversation"], it["result"], it["silent"]) for it in alerts if it["channel"] != "mipush"]


def planned(rig: Rig, worker: Process, result: str) -> float:
    return rig.metric(worker, "app_proxy_messages_planned_total", result=result)


def test_a_muted_conversation_rings_no_phone_quiet_hours_make_no_sound_and_a_preview_shows_no_more(rig: Rig) -> None:
    rig.start_web()
    worker = rig.start_worker(APP_PROXY_APPS__MAIN__MESSAGES__MENTIONS="mentions")
    phone, now = push_token(), datetime.now(UTC)
    assert rig.register("alice", "phone", phone).status_code == 200

    set_preferences(rig, "alice", mutes=[{"account": "bob", "until": (now + timedelta(hours=1)).isoformat()}])
    rig.post(offline("bob", "alice", rig.secret("text", "muted words"), 1))
    rig.wait(lambda: planned(rig, worker, MUTED), "the plan of the muted message")
    rig.post(offline("carl", "alice", "hello", 2))
    (loud,) = shown(rig, phone, 1)
    assert (loud["alert"]["title"], loud["alert"]["body"], loud["sound"]) == ("carl", "hello", "default")

    set_preferences(rig, "alice", mutes=[{"topic_id": GROUP, "mentions": True}])
    rig.post(offline_topic("bob", ["alice"], "muted words", 5, topic_id=GROUP))
    rig.wait(lambda: planned(rig, worker, MUTED) == 2, "the plan of the muted group's message")
    rig.post(offline_topic("bob", ["alice"], "", 6, topic_id=GROUP, payload=naming("alice", "at you")))
    assert shown(rig, phone, 2)[1]["alert"]["body"] == "at you"

    hours = {"from": f"{now - timedelta(hours=2):%H:%M}", "to": f"{now + timedelta(hours=2):%H:%M}", "time_zone": "UTC"}
    set_preferences(rig, "alice", quiet_hours=hours, preview="sender")
    rig.post(offline("bob", "alice", rig.secret("text", "hidden words"), 3))
    quiet = shown(rig, phone, 3)[2]
    assert (quiet["interruption-level"], "sound" in quiet) == ("passive", False)
    assert quiet["alert"]["title"] == "bob"
    rig.settled()
    assert rig.journal("mipush")[-1]["notify_type"] == "0"
    assert "hidden words" not in repr([rig.journal("apns"), rig.journal("mipush")])

    set_preferences(rig, "alice")
    rig.post(offline("bob", "alice", "again", 4))
    assert shown(rig, phone, 4)[3]["sound"] == "default"
    rig.settled()
    assert sorted(told(rig, "alice")) == [  # what is muted is there too
        ("p2p:bob", "accepted", False),
        ("p2p:bob", "accepted", True),
        ("p2p:bob", "conversation is muted", False),
        ("p2p:carl", "accepted", False),
        (f"topic:{GROUP}", "accepted", False),
        (f"topic:{GROUP}", "conversation is muted", False),
    ]


NIGHT = {"from": "22:00", "to": "07:00"}


def test_quiet_hours_hold_over_midnight_and_follow_summer_time(rig: Rig) -> None:
    """Each reader lives where it is that hour now; in one of two zones the clocks went forward ten minutes ago."""
    now = datetime.now(UTC)
    to_half_past_six = int((now.replace(hour=6, minute=30) - now).total_seconds())
    write_zone(rig.folder / "zones/Test/Forward", to_half_past_six, at=now - timedelta(minutes=10))
    write_zone(rig.folder / "zones/Test/Later", to_half_past_six, at=now + timedelta(hours=1))
    zones = {"PYTHONTZPATH": f"{rig.folder / 'zones'}:{':'.join(zoneinfo.TZPATH)}"}
    rig.start_web(workers=1, **zones)
    rig.start_worker(**zones)
    readers = {
        "before midnight": (zone_where_it_is(23, now), True), "after midnight": (zone_where_it_is(0, now), True),
        "at noon": (zone_where_it_is(12, now), False),
        "at half past six": ("Test/Later", True), "at half past seven": ("Test/Forward", False),
    }  # fmt: skip
    phones = {reader: push_token() for reader in readers}
    for sequence, (reader, (zone, _)) in enumerate(readers.items()):
        account = reader.replace(" ", "-")
        assert rig.register(account, "phone", phones[reader]).status_code == 200
        set_preferences(rig, account, quiet_hours={**NIGHT, "time_zone": zone})
        assert rig.post(offline("bob", account, "hello", sequence + 1)).status_code == 200
    sounds = {reader: "sound" in shown(rig, phone, 1)[0] for reader, phone in phones.items()}
    assert sounds == {reader: not is_quiet for reader, (_, is_quiet) in readers.items()}


def zone_where_it_is(hour: int, now: datetime) -> str:
    """A zone without summer time; the names of these say how far UTC is ahead."""
    ahead = (hour - now.hour + 11) % 24 - 11
    return f"Etc/GMT{-ahead:+d}" if ahead else "Etc/GMT"


def write_zone(path: Path, offset: int, *, at: datetime) -> None:
    """A time zone file (RFC 8536, version 1): so many seconds ahead of UTC, and an hour more from then on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    head = struct.pack(">4s16x6l", b"TZif", 0, 0, 0, 1, 2, 8)
    times = struct.pack(">lB", int(at.timestamp()), 1)
    path.write_bytes(head + times + struct.pack(">lBBlBB", offset, 0, 0, offset + 3600, 1, 4) + b"STD\0DST\0")
