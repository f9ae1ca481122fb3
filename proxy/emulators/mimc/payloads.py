"""What apps put into a MIMC payload: the forms of the inner message that are in the field.

type      {"version":0,"msgId","type","timestamp":"ms","payload":text}        the manual, Chinese edition
msgType   the same with "msgType"                                             the manual, English edition
bizType   no type inside, MIMC's own bizType; payload is base64 of the text   Java, Android, iOS, web demos
inner_bizType  "bizType" inside as well as outside, clear text                a public consumer of callbacks
biz_type  as msgType with "biz_type"; the whole JSON is base64 once more      the Flutter package
content   types "101" to "108", the text in "content"                         the plain Java demo
percent   "content" is base64 of the percent-encoded text                     a public web app
plain     the text's bytes, no JSON
"""

import base64
import json
from urllib.parse import quote

from proxy.emulators.mimc.accounts import compact_json

INNER_FORMS = ("type", "msgType", "bizType", "inner_bizType", "biz_type", "content", "percent", "plain")


def wrap_text(form: str, text: str, inner_type: str | None, message_id: str, timestamp: str) -> tuple[bytes, str]:
    """The payload's bytes for one of INNER_FORMS, and the bizType MIMC would carry beside them ("" for none)."""
    kind = inner_type or {"biz_type": "text", "content": "103", "percent": "103"}.get(form, "TEXT")
    head = {"version": 0, "msgId": f"{kind}_{message_id}"}
    match form:
        case "type" | "msgType":
            return compact_json(head | {form: kind, "timestamp": timestamp, "payload": text}), ""
        case "bizType":
            return compact_json(head | {"timestamp": _number(timestamp), "payload": _base64(text.encode())}), kind
        case "inner_bizType":
            return compact_json(head | {"bizType": kind, "timestamp": _number(timestamp), "payload": text}), kind
        case "biz_type":
            inner = {"version": "0", "msgId": message_id, form: kind, "timestamp": _number(timestamp), "payload": text}
            return _base64(compact_json(inner)).encode(), ""
        case "content":
            return compact_json(head | {"msgType": kind, "timestamp": _number(timestamp), "content": text}), ""
        case "percent":
            content = _base64(quote(text, safe="").encode())
            return compact_json(head | {"msgType": kind, "timestamp": _number(timestamp), "content": content}), ""
        case _:
            return text.encode(), ""


def inner_of(payload: bytes) -> dict[str, str]:
    """The id, type and text inside, of the forms "type" and "msgType"; the bytes as text where they are no JSON."""
    try:
        inner = json.loads(payload)
    except (ValueError, RecursionError):
        inner = None
    if not isinstance(inner, dict):
        return {"message_id": "", "type": "", "text": payload.decode("utf-8", "replace")}
    kind = inner.get("type", inner.get("msgType", ""))
    return {"message_id": str(inner.get("msgId", "")), "type": str(kind), "text": str(inner.get("payload", ""))}


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _number(timestamp: str) -> int | str:
    return int(timestamp) if timestamp.isascii() and timestamp.isdigit() else timestamp
