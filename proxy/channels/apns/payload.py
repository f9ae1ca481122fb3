"""The JSON that the phone shows and the app gets, never longer than APNs takes."""

from proxy.channels.common import app_data, to_json
from proxy.domain.alerts import Alert, AlertText
from proxy.domain.words import word_of
from proxy.text import cut, json_bytes

LIMIT = 4096
_LONGEST_NAME = 512
_KEYS = "MIMC_"


def payload_of(
    alert: Alert, text: AlertText, sound: str, badge: int | None = None, *, communication: bool = False
) -> bytes:
    """The JSON payload in at most 4096 bytes: what is too long is cut and ends with "…", a long name first.

    `text` is what is said, in the device's language; where it has no body the app chooses the words, by a `loc-key`
    like "MIMC_PICTURE". `sound` is a file of the app or "default", at most 128 characters; "" for an alert without one.
    `badge` is the number on the app's icon, None: it stays as it is.
    App data is beside `aps`, as Apple asks. With `communication` it says who writes and whether in a group, and the
    app's service extension sees the alert first; not where the sender is not to be shown. Source: Apple, "Generating a
    remote notification" and "Implementing communication notifications".
    """
    is_of_many_writers = alert.is_fold and alert.conversation.startswith("topic:")
    told = _who(alert, text) if communication and text.title and not is_of_many_writers else {}
    title, group, body = text.title, "" if text.count else text.group, text.body
    key = "" if body else f"{_KEYS}{word_of(text).upper()}"
    whole = _payload(alert, sound, told, title, group, body, key, badge)
    if len(whole) <= LIMIT:
        return whole
    title, group = (cut(name, _LONGEST_NAME, json_bytes) for name in (title, group))
    room = LIMIT - len(_payload(alert, sound, told, title, group, "", key, badge))
    return _payload(alert, sound, told, title, group, cut(body, room, json_bytes), key, badge)


def _who(alert: Alert, text: AlertText) -> dict[str, object]:
    """Under 1100 bytes. Their name is the alert's title, and the group's its subtitle."""
    is_group = alert.conversation.startswith("topic:")
    sender = text.sender if is_group else alert.conversation.removeprefix("p2p:")
    told: dict[str, object] = {"group": is_group}
    if 0 < sum(map(json_bytes, sender)) <= _LONGEST_NAME:
        told["sender"] = sender
    return told | ({"avatar": text.avatar} if text.avatar else {})


def withdrawal_payload(alert: Alert) -> bytes:
    """What wakes the app in the background, so that it removes the alert; docs/callbacks.md tells it how.

    `message` is the identifier of the notification on the phone. Source: Apple, "Pushing background updates to your
    app"; UNNotificationRequest.identifier, which is the apns-collapse-id.
    """
    data = app_data(alert)["mimc"] | {"withdrawn": str(alert.update), "message": alert.message_id}
    return to_json({"aps": {"content-available": 1}, "mimc": data})


def badge_payload(badge: int) -> bytes:
    """Nothing but the number on the app's icon."""
    return to_json({"aps": {"badge": badge}})


def _payload(
    alert: Alert, sound: str, told: dict[str, object], title: str, group: str, body: str, key: str, badge: int | None
) -> bytes:
    shown: dict[str, object] = {"title": title} if title else {}  # without one iOS shows the app's name alone
    if group:
        shown["subtitle"] = group
    shown |= {"loc-key": key} if key else {"body": body}
    if key and alert.is_fold:
        shown["loc-args"] = [str(alert.text.count)]  # texts, as Apple asks
    aps: dict[str, object] = {"alert": shown, "thread-id": alert.conversation_id}
    if sound and not alert.silent:
        aps["sound"] = sound
    if badge is not None:
        aps["badge"] = badge
    if alert.silent or alert.urgent:
        aps["interruption-level"] = "passive" if alert.silent else "time-sensitive"  # iOS 15 and later
    data: dict[str, object] = {**app_data(alert)["mimc"]}
    if told:
        aps["mutable-content"] = 1
        data |= told
    return to_json({"aps": aps, "mimc": data})
