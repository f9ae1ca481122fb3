"""A message as MIMC posts it: its JSON, in the form of 2018 or with the members added later."""

import base64
import json
from typing import Any

from tests.bench.intake import authentication
from tests.chaos.messages import Announcement, Message
from tests.system.rig import APP_SECRET

_FIRST_SEQUENCE = 154503794553568000


def body_of(message: Message, announcement: Announcement, sent_at_ms: int) -> bytes:
    """The same bytes for every repeat of an announcement."""
    members = _who(message, announcement) | {"payload": _payload(message, sent_at_ms)}
    ids: dict[str, Any] = {"timestamp": sent_at_ms}
    if not message.old:
        ids |= {
            "timestamp": str(sent_at_ms), "fromResource": "login-phone",
            "packetId": f"packet-{message.sequence}", "sequence": str(_FIRST_SEQUENCE + message.sequence),
            "bizType": "" if message.style == "msgType" else "TEXT",
            "authentication": authentication(str(sent_at_ms), message.app_id, APP_SECRET[message.app_id]),
        }  # fmt: skip
    return json.dumps({"msgType": announcement.kind, "fromAccount": message.sender, **members, **ids}).encode()


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
