"""The JSON that the phone shows and the app gets, never longer than APNs takes."""

from proxy.channels.common import app_data, to_json
from proxy.domain.alerts import Alert, AlertText
from proxy.text import cut, json_bytes

LIMIT = 4096
_LONGEST_NAME = 512
_KEYS = "MIMC_"


def payload_of(alert: Alert, text: AlertText, sound: str) -> bytes:
    """The JSON payload in at most 4096 bytes: what is too long is cut and ends with "…", a long name first.

    `text` is what is said, in the device's language; where it has no body the app chooses the words, by a `loc-key`
    like "MIMC_PICTURE". `sound` is a file of the app or "default", at most 128 characters; "" for an alert without one.
    App data is beside `aps`, as Apple asks. Source: Apple, "Generating a remote notification".
    """
    title, group, body = text.title, text.group, text.body
    key = "" if body else f"{_KEYS}{text.kind.upper()}"
    whole = _payload(alert, sound, title, group, body, key)
    if len(whole) <= LIMIT:
        return whole
    title, group = (cut(name, _LONGEST_NAME, json_bytes) for name in (title, group))
    room = LIMIT - len(_payload(alert, sound, title, group, "", key))
    return _payload(alert, sound, title, group, cut(body, room, json_bytes), key)


def _payload(alert: Alert, sound: str, title: str, group: str, body: str, key: str) -> bytes:
    shown = {"title": title} if title else {}  # without one iOS shows the app's name alone
    if group:
        shown["subtitle"] = group
    shown |= {"loc-key": key} if key else {"body": body}
    aps: dict[str, object] = {"alert": shown, "thread-id": alert.conversation_id}
    if sound and not alert.silent:
        aps["sound"] = sound
    if alert.silent or alert.urgent:
        aps["interruption-level"] = "passive" if alert.silent else "time-sensitive"  # iOS 15 and later
    return to_json({"aps": aps, **app_data(alert)})
