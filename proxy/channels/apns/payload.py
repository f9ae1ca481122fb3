"""The JSON that the phone shows and the app gets, never longer than APNs takes."""

from proxy.channels.common import app_data, to_json
from proxy.domain.alerts import Alert
from proxy.text import cut, json_bytes

LIMIT = 4096
_LONGEST_TITLE = 512


def payload_of(alert: Alert, sound: str) -> bytes:
    """The JSON payload in at most 4096 bytes: what is too long is cut and ends with "…", a long title first.

    `sound` is a file of the app or "default", at most 128 characters; "" for a silent alert. App data is beside
    `aps`, as Apple asks. Source: Apple, "Generating a remote notification".
    """
    title, body = alert.text.title, alert.text.body
    whole = _payload(alert, sound, title, body)
    if len(whole) <= LIMIT:
        return whole
    title = cut(title, _LONGEST_TITLE, json_bytes)
    room = LIMIT - len(_payload(alert, sound, title, ""))
    return _payload(alert, sound, title, cut(body, room, json_bytes))


def _payload(alert: Alert, sound: str, title: str, body: str) -> bytes:
    aps: dict[str, object] = {"alert": {"title": title, "body": body}, "thread-id": alert.conversation_id}
    if sound:
        aps["sound"] = sound
    return to_json({"aps": aps, **app_data(alert)})
