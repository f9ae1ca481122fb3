"""A message as MIMC posts it: its JSON, in the form of 2018 or with the members added later."""

import base64
import json
from typing import Any

from tests.bench.intake import authentication
from tests.chaos.messages import Announcement, Message
from tests.chaos.notices import READ, Notice
from tests.system.rig import APP_SECRET

_FIRST_SEQUENCE = 154503794553568000


_FIRST_NOTICE = 10_000_000  # above the messages of any run


def body_of(message: Message, announcement: Announcement, sent_at_ms: int) -> bytes:
    """The same bytes for every repeat of an announcement."""
    kind = "" if message.style == "msgType" else "TEXT"
    return _body(
        message, announcement, message.sender, message.sequence, kind, _payload(message, sent_at_ms), sent_at_ms
    )


def notice_body(notice: Notice, sent_at_ms: int) -> bytes:
    """A READ or RECALL: where its message has its type, and by the id that this has as its text or in an object."""
    message, about = notice.message, f"TEXT_{notice.message.sequence}"
    kind = "TEXT_READ" if notice.why == READ else "TEXT_RECALL"
    envelope = {
        "version": 0, "msgId": f"{kind}_{notice.number}", "timestamp": str(sent_at_ms),
        "payload": {f"{notice.why}_msgId": about} if notice.number % 4 == 0 else about,
    }  # fmt: skip
    inner = envelope if message.style == "bizType" else {**envelope, message.style: kind}
    payload = base64.b64encode(json.dumps(inner).encode()).decode()
    sequence = _FIRST_NOTICE + notice.number
    biz_type = kind if message.style == "bizType" else ""
    return _body(message, notice.announcement, notice.by, sequence, biz_type, payload, sent_at_ms)


def _body(
    message: Message,
    announcement: Announcement,
    sender: str,
    sequence: int,
    biz_type: str,
    payload: str,
    sent_at_ms: int,
) -> bytes:
    """In the form of this message, and where it was said."""
    members = _who(message, announcement) | {"payload": payload}
    ids: dict[str, Any] = {"timestamp": sent_at_ms}
    if not message.old:
        ids |= {
            "timestamp": str(sent_at_ms), "fromResource": "login-phone",
            "packetId": f"packet-{sequence}", "sequence": str(_FIRST_SEQUENCE + sequence), "bizType": biz_type,
            "authentication": authentication(str(sent_at_ms), message.app_id, APP_SECRET[message.app_id]),
        }  # fmt: skip
    return json.dumps({"msgType": announcement.kind, "fromAccount": sender, **members, **ids}).encode()


def _who(message: Message, announcement: Announcement) -> dict[str, Any]:
    app_id: str | int = int(message.app_id) if message.old else message.app_id
    recipients = list(announcement.recipients)
    missed = {"offlineResources": list(announcement.resources)} if announcement.resources else {}
    if message.group is None:
        return {"fromAppId": app_id, "toAppId": app_id, "toAccount": recipients[0], **missed}
    topic_id: str | int = int(message.group.topic_id) if message.old else message.group.topic_id
    accounts = {"offlineAccounts": [{"toAccount": account, **missed} for account in recipients]} if missed else {}
    return {"appId": app_id, "topicId": topic_id, "toAccounts": recipients, **accounts}


def _payload(message: Message, sent_at_ms: int) -> str:
    text = f"see you at {message.word} station"
    envelope = {"version": 0, "msgId": f"TEXT_{message.sequence}", "timestamp": str(sent_at_ms), "payload": text}
    match message.style:
        case "plain":
            inner = text
        case "bizType":
            inner = json.dumps(envelope)
        case type_member:
            inner = json.dumps({**envelope, type_member: "TEXT"})
    return base64.b64encode(inner.encode()).decode()
