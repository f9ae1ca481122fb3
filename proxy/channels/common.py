"""What the wires share: what an app gets beside the alert, and what is read from any provider's answer."""

import json
from collections.abc import Mapping
from datetime import timedelta

from proxy.domain.alerts import Alert

_LONGEST_CONVERSATION = 1024
_LONGEST_WAIT = timedelta(hours=1)
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def app_data(alert: Alert) -> dict[str, dict[str, str]]:
    """`{"mimc": {"conversation": "p2p:<account>" or "topic:<id>", "sequence": <decimal text>}}`, so that a tap opens
    the right conversation.

    `sequence` is text because it exceeds 2^53; it is left out where MIMC gave none, and `conversation` where it takes
    more than 1024 bytes, which no payload has room for. So the whole stays under 1100 bytes.
    """
    inner = {}
    if len(to_json(alert.conversation)) <= _LONGEST_CONVERSATION:
        inner["conversation"] = alert.conversation
    if 0 < alert.order.sequence < 1 << 64:
        inner["sequence"] = str(alert.order.sequence)
    return {"mimc": inner}


def to_json(value: object) -> bytes:
    """Compact JSON in UTF-8: escapes would make Chinese text twice as long."""
    return _encode(value).encode("utf-8", "replace")


def retry_after(headers: Mapping[str, str]) -> timedelta:
    """What Retry-After asks for in seconds, an hour at most; zero where it is absent or a date."""
    value = headers.get("retry-after", "").strip()
    if not (value.isascii() and value.isdecimal()):
        return timedelta(0)
    return min(timedelta(seconds=int(value[:6])), _LONGEST_WAIT)
