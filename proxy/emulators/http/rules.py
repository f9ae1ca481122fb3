"""What the emulated sender refuses: a signature that is not good, and a body that is neither event nor question as
docs have it.

Source: Standard Webhooks 1.0.0, and docs/channels-http.md and docs/profiles.md of this project.
"""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from werkzeug.datastructures import Headers

_SECONDS = re.compile(r"[0-9]{1,12}")
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Refused(Exception):
    """The request is answered `status`, and the journal has the reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


def check_signature(headers: Headers, body: bytes, keys: Sequence[bytes], now_s: float, tolerance_s: float) -> None:
    """Raises Refused."""
    webhook_id, sent = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not _ID.fullmatch(webhook_id):
        raise Refused(401, "webhook-id")
    if not _SECONDS.fullmatch(sent) or abs(int(sent) - now_s) > tolerance_s:
        raise Refused(401, "webhook-timestamp")
    content = b".".join((webhook_id.encode(), sent.encode(), body))
    good = {b"v1," + base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()) for key in keys}
    shown = headers.get("webhook-signature", "").encode().split(b" ")
    if not any(hmac.compare_digest(one, other) for one in shown for other in good):
        raise Refused(401, "webhook-signature")


def read_event(content_type: str, body: bytes) -> dict[str, Any]:
    """The event, when it is one of the three kinds and whole. Raises Refused."""
    event = _read_object(content_type, body)
    if not isinstance(data := event.get("data"), dict):
        raise Refused(422, "no event with data")
    _require_time(event, "timestamp")
    match event.get("type"):
        case "check" if not data:
            return event
        case "alert":
            _require_alert(data)
            return event
        case "withdrawal":
            _require_withdrawal(data)
            return event
    raise Refused(422, "type")


def read_question(content_type: str, body: bytes) -> dict[str, Any]:
    """The account, and the group where there is one. Raises Refused."""
    question = _read_object(content_type, body)
    if not question.keys() <= {"account", "group"}:
        raise Refused(422, "members")
    for name in {"account"} | question.keys():
        _require_text(question, name)
    return question


def _read_object(content_type: str, body: bytes) -> dict[str, Any]:
    if content_type.partition(";")[0].strip() != "application/json":
        raise Refused(400, "content-type")
    try:
        found = json.loads(body.decode())
    except (ValueError, RecursionError):
        raise Refused(400, "no JSON") from None
    if not isinstance(found, dict):
        raise Refused(422, "no object")
    return found


def _require_alert(data: dict[str, Any]) -> None:
    for name in ("kind", "title", "body"):
        _require_text(data, name)
    _require_whose(data)
    if "group" in data:
        _require_text(data, "group")
    badge = data.get("badge", 0)
    if isinstance(badge, bool) or not isinstance(badge, int) or badge < 0:
        raise Refused(422, "badge")
    for name in ("silent", "urgent"):
        if not isinstance(data.get(name), bool):
            raise Refused(422, name)
    _require_time(data, "expires_at")


def _require_withdrawal(data: dict[str, Any]) -> None:
    _require_whose(data)
    if data.get("reason") not in ("recall", "read"):
        raise Refused(422, "reason")
    _require_time(data, "expires_at")


def _require_whose(data: dict[str, Any]) -> None:
    for name in ("message_id", "app", "account"):
        _require_text(data, name)
    if "device" in data:
        device = data["device"]
        if not isinstance(device, dict) or device.keys() != {"id", "push_token", "locale"}:
            raise Refused(422, "device")
        for name in device:
            _require_text(device, name, may_be_empty=name == "locale")
    for name in {"conversation", "sequence"} & data.keys():
        _require_text(data, name)
    if not data.get("sequence", "0").isdecimal():
        raise Refused(422, "sequence")


def _require_text(members: dict[str, Any], name: str, *, may_be_empty: bool = False) -> None:
    value = members.get(name)
    if not isinstance(value, str) or not (value or may_be_empty):
        raise Refused(422, name)


def _require_time(members: dict[str, Any], name: str) -> None:
    try:
        when = datetime.fromisoformat(str(members.get(name)))
    except ValueError:
        raise Refused(422, name) from None
    if when.tzinfo is None:
        raise Refused(422, name)
