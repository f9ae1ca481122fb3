"""MIMC's message callbacks, as they are posted: the only place where their member names and units appear."""

import base64
import re
from codecs import BOM_UTF8
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from proxy.domain.callbacks import Callback, CallbackOrigin, Ignored, Kind, Recipient
from proxy.domain.times import from_ms
from proxy.errors import BadCallback
from proxy.strict_json import BadJson, read_object

MAX_BODY: Final = 1 << 20  # bytes; MIMC's payload ends at 15 KiB, so the rest is room for recipients
MAX_RECIPIENTS: Final = 10_000  # a group has 500 members unless Xiaomi raises it
MAX_TEXT: Final = 1024  # characters of any id, account or resource
MAX_KIND: Final = 64  # characters of an unknown msgType that we keep

_KINDS: Final = {kind.value: kind for kind in Kind}
_GROUP_KINDS: Final = (Kind.NORMAL_TOPIC_MSG, Kind.OFFLINE_TOPIC_MSG)
_LONE_SURROGATE: Final = re.compile("[\ud800-\udfff]")

_Members = Mapping[str, object]
_Read = Callable[[object, str], str | None]


def parse_callback(body: bytes) -> Callback | Ignored:
    """Read one message callback.

    `body` is the POST body: a UTF-8 JSON object, at most 64 levels deep, whose "msgType" is NORMAL_MSG, OFFLINE_MSG,
    NORMAL_TOPIC_MSG or OFFLINE_TOPIC_MSG, in the form of 2018 or with the members added later; any other text becomes
    Ignored(kind), whatever else is in it. Ids and the timestamp may be text or whole numbers and are kept as text;
    null and "" are absent. In a Callback `payload` is out of base64 and `sent_at` is aware UTC. A list without a name
    is no error: `recipients` is empty then. Raises BadCallback naming the first member that is missing or misshapen.
    Source: MIMC operation manual, message callbacks; "offline..." members as a public consumer reads them.
    """
    members = _read_json(body)
    name = _needed(members, "msgType", _text)
    kind = _KINDS.get(name)
    if kind is None:
        return Ignored(name[:MAX_KIND], _lenient_origin(members))
    return _group_message(kind, members) if kind in _GROUP_KINDS else _personal_message(kind, members)


def timestamp_ms(text: str | None) -> int | None:
    """Milliseconds since 1970, None for what is no number. The manual gives no unit: below 10^11 we take seconds."""
    if text is None or not (text.isascii() and text.isdigit()) or len(text) > 20:
        return None
    number = int(text)
    return number * 1000 if number < 10**11 else number


def read_base64(text: str) -> bytes:
    """Bytes out of base64 in either alphabet, padded or not, with white space or without. Raises ValueError."""
    compact = "".join(text.split()).rstrip("=").replace("-", "+").replace("_", "/")
    return base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True)


def _personal_message(kind: Kind, members: _Members) -> Callback:
    app_id = _needed(members, "toAppId", _id)
    return _callback(kind, members, app_id, topic_id=None, recipients=_reader(members))


def _group_message(kind: Kind, members: _Members) -> Callback:
    app_id = _needed(members, "appId", _id)
    topic_id = _needed(members, "topicId", _id)
    return _callback(kind, members, app_id, topic_id=topic_id, recipients=_readers(members))


def _callback(
    kind: Kind, members: _Members, app_id: str, *, topic_id: str | None, recipients: tuple[Recipient, ...]
) -> Callback:
    origin = _origin(members, app_id, _id, _text)
    return Callback(
        kind=kind,
        app_id=app_id,
        from_account=_needed(members, "fromAccount", _text),
        topic_id=topic_id,
        recipients=recipients,
        payload=_payload(members.get("payload")),
        origin=origin,
        sent_at=_sent_at(origin.timestamp),
        sequence=_sequence(members.get("sequence")),
        packet_id=_id(members.get("packetId"), "packetId"),
        biz_type=_id(members.get("bizType"), "bizType") or "",
    )


def _origin(members: _Members, recipient_app_id: str | None, read_id: _Read, read_text: _Read) -> CallbackOrigin:
    named = (read_id(members.get(name), name) for name in ("fromAppId", "toAppId", "appId"))
    return CallbackOrigin(
        recipient_app_id=recipient_app_id,
        app_ids=tuple(dict.fromkeys(app_id for app_id in named if app_id)),
        timestamp=read_id(members.get("timestamp"), "timestamp"),
        authentication=read_text(members.get("authentication"), "authentication"),
    )


def _lenient_origin(members: _Members) -> CallbackOrigin:
    """The origin that a callback of an unknown kind names. Its members may mean anything: the unreadable are absent."""
    read_id, read_text = _lenient(_id), _lenient(_text)
    recipient = read_id(members.get("toAppId"), "toAppId") or read_id(members.get("appId"), "appId")
    return _origin(members, recipient, read_id, read_text)


def _reader(members: _Members) -> tuple[Recipient, ...]:
    account = _text(members.get("toAccount"), "toAccount")
    resources = _texts(members.get("offlineResources"), "offlineResources")
    return (Recipient(account, resources),) if account else ()


def _readers(members: _Members) -> tuple[Recipient, ...]:
    """Everybody named in either list; resources come from "offlineAccounts", and no resource means all of them."""
    missed: dict[str, tuple[str, ...]] = {}
    for index, entry in enumerate(_array(members.get("offlineAccounts"), "offlineAccounts")):
        field = f"offlineAccounts[{index}]"
        if not isinstance(entry, dict):
            raise BadCallback(field, expected="an object", got=entry)
        account = _text(entry.get("toAccount"), f"{field}.toAccount")
        resources = _texts(entry.get("offlineResources"), f"{field}.offlineResources")
        if account:
            missed[account] = _merged(missed.get(account, resources), resources)
    accounts = dict.fromkeys((*_texts(members.get("toAccounts"), "toAccounts"), *missed))
    if len(accounts) > MAX_RECIPIENTS:
        field = "toAccounts" if members.get("toAccounts") else "offlineAccounts"
        raise BadCallback(field, expected=f"at most {MAX_RECIPIENTS} recipients", got=members[field])
    return tuple(Recipient(account, missed.get(account, ())) for account in accounts)


def _merged(some: tuple[str, ...], more: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*some, *more))) if some and more else ()


def _payload(value: object) -> bytes:
    """The sender's bytes. Text that is no base64 is kept as it is: a detail of form must not cost an alert."""
    if value is None:
        return b""
    if not isinstance(value, str):
        raise BadCallback("payload", expected="base64 text", got=value)
    try:
        return read_base64(value)
    except ValueError:
        return value.encode("utf-8", "replace")


def _sequence(value: object) -> str | None:
    """None for 0 too, which is a number that was never set and would make all messages of two people one."""
    text = _id(value, "sequence")
    return None if text is None or not text.strip("0") else text


def _sent_at(timestamp: str | None) -> datetime | None:
    ms = timestamp_ms(timestamp)
    if not ms:  # 0 is a number that was never set
        return None
    try:
        return from_ms(ms)
    except OverflowError:
        return None


def _needed(members: _Members, name: str, read: _Read) -> str:
    value = read(members.get(name), name)
    if value is None:
        expected = "text that is not empty" if read is _text else "text or a whole number"
        raise BadCallback(name, expected=expected, got=members.get(name, ...))
    return value


def _id(value: object, field: str) -> str | None:
    """Text, or the digits of a whole number: MIMC's ids exceed 2^53, so nothing passes through a float."""
    if isinstance(value, str):
        return _text(value, field)
    match value:
        case bool() | float():
            raise BadCallback(field, expected="text or a whole number", got=value)
        case int():
            if value < 0:
                raise BadCallback(field, expected="text or a whole number that is not negative", got=value)
            return str(value)
        case _:
            return _text(value, field)


def _text(value: object, field: str) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise BadCallback(field, expected="text", got=value)
    if len(value) > MAX_TEXT:
        raise BadCallback(field, expected=f"text of at most {MAX_TEXT} characters", got=value)
    if not value.isascii() and _LONE_SURROGATE.search(value):
        raise BadCallback(field, expected="text without lone surrogates", got=value)
    return value


def _lenient(read: _Read) -> _Read:
    def read_or_none(value: object, field: str) -> str | None:
        try:
            return read(value, field)
        except BadCallback:
            return None

    return read_or_none


def _texts(value: object, field: str) -> tuple[str, ...]:
    texts = (_text(item, f"{field}[{index}]") for index, item in enumerate(_array(value, field)))
    return tuple(dict.fromkeys(text for text in texts if text))


def _array(value: object, field: str) -> list[object]:
    if value is None or value == "":
        return []
    if not isinstance(value, list):
        raise BadCallback(field, expected="an array", got=value)
    return value


def _read_json(body: bytes) -> _Members:
    try:
        return read_object(body.removeprefix(BOM_UTF8), parse_int=_whole_number)
    except BadJson as error:
        raise BadCallback("body", expected=error.expected, got=error.value) from None


def _whole_number(literal: str) -> int | float:
    """Exact up to any id's length; beyond, `int` would raise at some number of digits."""
    return int(literal) if len(literal) <= 64 else float(literal)
