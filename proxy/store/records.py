"""How things lie in the store: compact JSON with a format number, so that two versions can run side by side.

Messages, jobs and devices are bytes (compact_records.py) in a store that is `compact`, where no earlier program runs.
Both are always read.
"""

import json
import struct
from base64 import b64decode, b64encode
from contextlib import suppress
from datetime import datetime, time
from functools import lru_cache
from typing import Any, assert_never

from proxy.compact_json import compact_json
from proxy.domain.alerts import Alert, AlertText, Order, Update
from proxy.domain.callbacks import Recipient
from proxy.domain.dead_letters import Unread
from proxy.domain.devices import Address, ApnsEnvironment, Device, Platform
from proxy.domain.forwards import Forward
from proxy.domain.jobs import Job, Try
from proxy.domain.kinds import FOLD, Kind
from proxy.domain.lanes import Lane
from proxy.domain.offline_messages import OfflineMessage
from proxy.domain.preferences import UNREADABLE, Mute, Preferences, QuietHours, zone_of
from proxy.domain.previews import Preview
from proxy.domain.settlements import Entry
from proxy.domain.times import from_ms, to_ms
from proxy.domain.words import ENGLISH
from proxy.errors import ProxyError
from proxy.store import compact_records
from proxy.store.compact_records import is_compact

FORMAT = 1
_UPDATES = 2  # of alerts, and folds: an earlier program must not take one for an alert of a message
_TEXT, _NO_NAME = Kind.TEXT, ENGLISH[Kind.NEW]
_ADDRESS = ("platform", "token", "env")
_SELDOM = frozenset({"kind", "group", "by", "pic"})
_DEVICES_KEPT = 4096  # a message is planned and soon delivered, and who gets one mostly gets more
_PREFERENCES_KEPT = 1024
_NOT_OURS = (
    KeyError, TypeError, ValueError, IndexError, RecursionError, OverflowError,  # the last: a year too far
    struct.error,
)  # fmt: skip


class UnreadableRecord(ProxyError):
    """Not one of ours, or of a later version than this program knows."""


def dump_offline_message(
    message: OfflineMessage, *, with_payload: bool = True, own_clock: bool = False, compact: bool = False
) -> bytes:
    """`with_payload` False leaves out what people wrote, for dead letters. `own_clock`: see `has_own_time`."""
    kept = message.payload if with_payload else b""
    if compact and not own_clock:
        with suppress(ValueError):
            return compact_records.dump_offline_message(message, kept)
    payload = b64encode(kept).decode()
    return _dump({
        "v": FORMAT, "id": message.message_id, "app": message.app_id, "conv": message.conversation,
        "from": message.sender,
        "to": [[r.account, list(r.resources)] if r.resources else r.account for r in message.recipients],
        "payload": payload, "biz": message.biz_type, "seq": message.sequence, "sent": message.sent_at_ms,
        "at": to_ms(message.accepted_at), **({"own_clock": 1} if own_clock else {}),
    })  # fmt: skip


def has_own_time(message_record: bytes) -> bool:
    """Its `accepted_at` is of the machine's own clock, which had not been compared with the store's."""
    return not is_compact(message_record) and _load(message_record).get("own_clock") == 1


def load_offline_message(record: bytes) -> OfflineMessage:
    """Raises UnreadableRecord."""
    try:
        if is_compact(record):
            message = compact_records.load_offline_message(record)
            _only(int, message.order.sequence)  # thousands of digits are no number
            return message
        fields = _load(record)
        to = tuple(Recipient(r) if isinstance(r, str) else Recipient(r[0], tuple(r[1])) for r in fields["to"])
        _only(str, *(r.account for r in to), *(name for r in to for name in r.resources))
        _only(str, fields["id"], fields["app"], fields["conv"], fields["from"], fields["biz"], fields["seq"])
        _only(int, fields["sent"])
        message = OfflineMessage(
            fields["id"], fields["app"], fields["conv"], fields["from"], to, b64decode(fields["payload"]),
            fields["biz"], fields["seq"], fields["sent"], _time(fields["at"]),
        )  # fmt: skip
        _only(int, message.order.sequence)
        return message
    except _NOT_OURS as error:
        raise UnreadableRecord(f"callback record: {type(error).__name__}") from None


def dump_job(job: Job, *, with_text: bool = True, compact: bool = False) -> bytes:
    """`with_text` False leaves out what people wrote, for dead letters.

    The format comes first: plan_chunk.lua makes the update of a fold of a job's record, by "v" and "count".
    """
    alert, order = job.alert, job.alert.order
    if compact:
        with suppress(ValueError):
            return compact_records.dump_job(job, alert.text if with_text else _without_words(alert))
    text, extra = _text(alert) if with_text else (None, {})
    return _dump({
        "v": _UPDATES if alert.update or alert.is_fold else FORMAT,
        "app": job.app, "channel": job.channel, "account": job.account, "device": job.device_id,
        "message": alert.message_id, "conv": alert.conversation, "text": text,
        "order": [order.sequence, order.sent_at_ms, order.accepted_at_ms], "until": to_ms(alert.expires_at),
        "attempt": job.attempt, "second": int(job.second_chance), **extra,
        **({"tries": [[to_ms(past.at), past.reason] for past in job.history]} if job.history else {}),
        **({"tok": job.token_digest} if job.token_digest else {}),
        **({"silent": 1} if alert.silent else {}),
        **({"mentioned": 1} if alert.mentioned else {}),
        **({"plan": job.planned_at_ms} if job.planned_at_ms else {}),
        **({"update": alert.update} if alert.update else {}),
        **({"first": job.first_platform} if job.first_platform else {}),
        **({"count": alert.text.count} if alert.is_fold else {}),
    })  # fmt: skip


def _without_words(alert: Alert) -> AlertText:
    return AlertText("", "", FOLD, count=alert.text.count) if alert.is_fold else AlertText("", "")


def _text(alert: Alert) -> tuple[list[str], dict[str, str | int]]:
    """Title and body, and the members that most jobs have no need of.

    Where this program chooses words when it pushes, the record has English ones for an earlier program, which knows
    no "kind".
    """
    text, extra = alert.text, dict[str, str | int]()
    if text.kind == _TEXT and text.title and not (text.group or alert.urgent or text.sender or text.avatar):
        return [text.title, text.body], extra
    if text.sender:
        extra["by"] = text.sender
    if text.avatar:
        extra["pic"] = text.avatar
    if alert.urgent:
        extra["urgent"] = 1
    if text.group:
        extra["group"] = text.group
    if text.kind == _TEXT and text.title:
        return [text.title, text.body], extra
    title, body = text.title or _NO_NAME, text.body or ENGLISH.get(text.kind, _NO_NAME)
    return [title, body], {**extra, "kind": text.kind}


def _load_text(fields: dict[str, Any]) -> AlertText:
    title, body = fields["text"] or ("", "")
    _only(str, title, body)
    if fields.keys().isdisjoint(_SELDOM):
        return AlertText(title, body)
    kind = fields.get("kind", _TEXT.value)
    rest = [fields.get(name, "") for name in ("group", "by", "pic")]
    _only(str, kind, *rest)
    if "kind" in fields or "group" in fields:
        title, body = "" if title == _NO_NAME else title, "" if body == ENGLISH.get(kind, _NO_NAME) else body
    return AlertText(title, body, kind, *rest)


def load_job(record: bytes) -> Job:
    """Raises UnreadableRecord."""
    try:
        if is_compact(record):
            return compact_records.load_job(record)
        fields = _load(record, _UPDATES)
        _only(str, *(fields[name] for name in ("app", "channel", "account", "device", "message", "conv")))
        _only(str, fields.get("tok", ""), fields.get("first", ""))
        _only(int, *fields["order"], fields["attempt"], fields.get("plan", 0))
        order, expires_at = Order(*fields["order"]), _time(fields["until"])
        is_urgent, is_silent = bool(fields.get("urgent", 0)), bool(fields.get("silent", 0))
        text, update = _load_text(fields), None
        if fields["v"] == _UPDATES and "count" in fields:
            _only(int, fields["count"])
            # made of a job's record, it has that one's words still
            text = text.folded(is_group=fields["conv"].startswith("topic:"), count=fields["count"])
        elif fields["v"] == _UPDATES:
            update = Update(fields["update"])
        alert = Alert(
            fields["message"], fields["conv"], text, order, expires_at, is_urgent, is_silent,
            bool(fields.get("mentioned", 0)), update,
        )  # fmt: skip
        return Job(
            fields["app"], fields["channel"], fields["account"], fields["device"], alert, fields["attempt"],
            bool(fields["second"]), tuple(_load_try(at, reason) for at, reason in fields.get("tries", ())),
            fields.get("tok", ""), fields.get("plan", 0), fields.get("first", ""),
        )  # fmt: skip
    except _NOT_OURS as error:
        raise UnreadableRecord(f"job record: {type(error).__name__}") from None


def _load_try(at: object, reason: object) -> Try:
    if type(at) is not int or type(reason) is not str:
        raise TypeError("try")
    return Try(_time(at), reason)


def dump_forward(forward: Forward) -> bytes:
    """What we know of it as JSON in the first line, then the body as it is."""
    head = _dump({
        "v": FORMAT, "app": forward.app, "channel": forward.channel, "id": forward.id, "kind": forward.kind,
        "until": to_ms(forward.until), "attempt": forward.attempt, "reason": forward.reason,
    })  # fmt: skip
    return head + b"\n" + forward.body


def load_forward(record: bytes) -> Forward:
    """Raises UnreadableRecord."""
    head, _, body = record.partition(b"\n")
    try:
        fields = _load(head)
        _only(str, *(fields[name] for name in ("app", "channel", "id", "kind", "reason")))
        _only(int, fields["attempt"])
        return Forward(
            fields["app"], fields["channel"], fields["id"], fields["kind"], _time(fields["until"]), body,
            fields["attempt"], fields["reason"],
        )  # fmt: skip
    except _NOT_OURS as error:
        raise UnreadableRecord(f"webhook record: {type(error).__name__}") from None


def dump_dead_letter(
    of: Job | OfflineMessage | Forward | Entry, lane: Lane | None, *, compact: bool = False
) -> tuple[str, bytes, bytes]:
    """Kind, record without words, and the record as it was. `lane` is where an unreadable one lay, None: callbacks."""
    match of:
        case Job():
            return "job", dump_job(of, with_text=False, compact=compact), dump_job(of, compact=compact)
        case OfflineMessage():
            return (
                "callback",
                dump_offline_message(of, with_payload=False, compact=compact),
                dump_offline_message(of, compact=compact),
            )
        case Forward():
            return "webhook", dump_forward(of.without_words()), dump_forward(of)
        case Entry():
            app, channel = (lane.app, lane.channel) if lane else ("", "")
            return "record", _dump({"v": FORMAT, "app": app, "channel": channel, "size": len(of.record)}), of.record
        case _:
            assert_never(of)


def load_dead_letter(kind: str, record: bytes) -> Job | OfflineMessage | Forward | Unread | None:
    """What a dead letter is about; None where that is unknown, as with callbacks of an earlier program.

    `kind` "" is that program's too, which wrote jobs without it.
    """
    try:
        match kind:
            case "job" | "":
                return load_job(record)
            case "callback":
                return load_offline_message(record)
            case "webhook":
                return load_forward(record)
            case "record":
                return _load_unread(record)
            case _:
                return None
    except UnreadableRecord:
        return None


def _load_unread(record: bytes) -> Unread:
    try:
        fields = _load(record)
        _only(str, fields["app"], fields["channel"])
        _only(int, fields["size"])
        return Unread(fields["app"], fields["channel"], fields["size"])
    except _NOT_OURS as error:
        raise UnreadableRecord(f"unread record: {type(error).__name__}") from None


def dump_device(device: Device, *, compact: bool = False) -> bytes:
    if compact:
        with suppress(ValueError):
            return compact_records.dump_device(device)
    return _dump({
        "v": FORMAT, "account": device.account, "platform": device.platform, "token": device.push_token,
        "at": to_ms(device.registered_at), "env": device.environment, "locale": device.locale,
        "resource": device.resource,
        **({"preview": device.preview} if device.preview is not Preview.FULL else {}),
        **({"more": [[it.platform, it.push_token, it.environment] for it in device.fallbacks]}
           if device.fallbacks else {}),
        **({"first": device.first_platform} if device.first_platform else {}),
    })  # fmt: skip


def without_address(record: bytes, platform: str, push_token: str) -> bytes | None:
    """A device's record without this address: where it was the first, the next one takes its place.

    Members that only a later version knows stay. None: the record is unreadable, has no such address, or no other.
    """
    try:
        if is_compact(record):
            return compact_records.without_address(record, platform, push_token)
        fields = _load(record)
        addresses = [[fields[name] for name in _ADDRESS], *fields.get("more", [])]
        first, *more = left = [it for it in addresses if it[:2] != [platform, push_token]]
        former = fields.get("first", fields["platform"])
        rest = {name: value for name, value in fields.items() if name not in ("more", "first")}
        if len(left) == len(addresses):
            return None
        return _dump({
            **rest, **dict(zip(_ADDRESS, first, strict=True)),
            **({"more": more} if more else {}),
            **({"first": former} if former != first[0] else {}),
        })  # fmt: skip
    except _NOT_OURS:
        return None


@lru_cache(maxsize=_DEVICES_KEPT)
def load_device(app: str, device_id: str, record: bytes, invalid_reason: str = "") -> Device:
    """Raises UnreadableRecord."""
    try:
        if is_compact(record):
            return compact_records.load_device(app, device_id, record, invalid_reason)
        fields = _load(record)
        _only(str, fields["account"], fields["token"], fields["locale"], fields["resource"], fields.get("first", ""))
        return Device(
            app, fields["account"], device_id, Platform(fields["platform"]), fields["token"], _time(fields["at"]),
            ApnsEnvironment(fields["env"]), fields["locale"], fields["resource"], invalid_reason,
            Preview(fields.get("preview", Preview.FULL)), _load_addresses(fields["more"]) if "more" in fields else (),
            fields.get("first", ""),
        )  # fmt: skip
    except _NOT_OURS as error:
        raise UnreadableRecord(f"device record: {type(error).__name__}") from None


def _load_addresses(found: list[list[str]]) -> tuple[Address, ...]:
    addresses = list[Address]()
    for platform, push_token, environment in found:
        _only(str, push_token)
        addresses.append(Address(Platform(platform), push_token, ApnsEnvironment(environment)))
    return tuple(addresses)


def device_or_none(app: str, device_id: str, record: bytes, invalid_reason: str = "") -> Device | None:
    """None for a record that is unreadable here: one phone's trouble must not cost its neighbours their alerts."""
    try:
        return load_device(app, device_id, record, invalid_reason)
    except UnreadableRecord:
        return None


def dump_preferences(preferences: Preferences) -> bytes:
    """What is as if nothing had been set is left out."""
    quiet = preferences.quiet_hours
    mutes = {
        conversation: [to_ms(mute.until) if mute.until else 0, int(mute.mentions_pass)]
        for conversation, mute in preferences.mutes.items()
    }
    return _dump({
        "v": FORMAT,
        **({"mutes": mutes} if mutes else {}),
        **({"quiet": [quiet.start.isoformat("minutes"), quiet.end.isoformat("minutes"), quiet.zone.key,
                      int(quiet.calls_pass)]} if quiet else {}),
        **({"preview": preferences.preview} if preferences.preview is not Preview.FULL else {}),
    })  # fmt: skip


@lru_cache(maxsize=_PREFERENCES_KEPT)
def load_preferences(record: bytes) -> Preferences:
    """Raises UnreadableRecord."""
    try:
        fields = _load(record)
        mutes = {
            conversation: Mute(_time(until) if until else None, bool(mentions_pass))
            for conversation, (until, mentions_pass) in fields.get("mutes", {}).items()
        }
        quiet = _load_quiet_hours(*fields["quiet"]) if "quiet" in fields else None
        return Preferences(mutes, quiet, Preview(fields.get("preview", Preview.FULL)))
    except (*_NOT_OURS, AttributeError) as error:
        raise UnreadableRecord(f"preferences record: {type(error).__name__}") from None


def _load_quiet_hours(start: str, end: str, zone_name: str, calls_pass: object) -> QuietHours:
    _only(str, start, end, zone_name)
    zone = zone_of(zone_name)
    if zone is None:
        raise ValueError("zone")
    return QuietHours(time.fromisoformat(start), time.fromisoformat(end), zone, bool(calls_pass))


def preferences_or_strictest(record: bytes) -> Preferences:
    """A record that is unreadable here shows as little as any could ask for."""
    try:
        return load_preferences(record)
    except UnreadableRecord:
        return UNREADABLE


def dump_order(order: Order) -> bytes:
    return f"{order.sequence},{order.sent_at_ms},{order.accepted_at_ms}".encode()


def load_order(record: bytes) -> Order:
    sequence, sent_at_ms, accepted_at_ms = map(int, record.split(b","))
    return Order(sequence, sent_at_ms, accepted_at_ms)


def _time(ms: int) -> datetime:
    _only(int, ms)  # a record may hold anything
    return from_ms(ms)


def _only(kind: type, *values: object) -> None:
    for value in values:
        if type(value) is not kind:
            raise TypeError(kind.__name__)


def _dump(record: dict[str, Any]) -> bytes:
    """Takes any text, half of a surrogate pair too: a settlement that cannot be written would end the worker."""
    return compact_json(record).encode("utf-8", "surrogatepass")


def _load(record: bytes, newest: int = FORMAT) -> dict[str, Any]:
    fields = json.loads(record.decode("utf-8", "surrogatepass"))
    if not isinstance(fields, dict) or type(fields.get("v")) is not int or not FORMAT <= fields["v"] <= newest:
        raise ValueError("format")
    return fields
