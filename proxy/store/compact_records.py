"""Records as a compact store has them: a third to a half of the bytes of JSON, and no slower.

    2  what is of fixed length, as flags say which of it is there; then texts, FF between them
    3  an update of a fold: how many messages, FF, the record of the first one's job; plan_chunk.lua makes it
    4  a job that has its alert in common with others: the name of their words, and what is its own

The first byte tells them apart, and from JSON, which begins with {. FD, FE and FF are no bytes of a text, for UTF-8 has
none of them. What does not fit, such as a sequence of thousands of digits, raises ValueError, and is written as JSON.
What is damaged raises what its reader meets; see records.py.
"""

import hashlib
import json
import struct
from dataclasses import replace
from struct import Struct
from typing import Any

from proxy.compact_json import compact_json
from proxy.domain.alerts import Alert, AlertText, Order, Update
from proxy.domain.callbacks import Recipient
from proxy.domain.devices import Address, ApnsEnvironment, Device, Platform
from proxy.domain.jobs import Job, Try
from proxy.domain.kinds import Kind
from proxy.domain.offline_messages import OfflineMessage
from proxy.domain.previews import Preview
from proxy.domain.times import from_ms, to_ms

_WHOLE, _FOLD, _SHARING = b"\x02", b"\x03", b"\x04"
_END, _NEXT, _PART = b"\xff", b"\xfe", b"\xfd"
_NAME, _ID = 12, 16  # bytes
_UUID_DIGITS = 36

_MESSAGE = Struct(">cBqq")  # form, is its id a text, sent and accepted, ms
_WIDTH = Struct(">cH")  # form, length of a job's own part
_OWN = Struct(">BBB")  # flags, attempt, texts
_HAS_DIGEST, _HAS_UUID, _SECOND_CHANCE, _HAS_PLAN = 1, 2, 4, 8
_MS = Struct(">q")
_ALERT = Struct(">BBqqqq")  # flags, update, order, expires, ms
_ID_IS_TEXT, _URGENT, _SILENT, _MENTIONED, _SELDOM = 1, 2, 4, 8, 16
_DEVICE = Struct(">cBqB")  # form, flags, registered at, ms, preview
_TOKEN_IS_HEX, _SANDBOX, _MORE = 1, 2, 4

# by place: none may ever move
_UPDATES = (None, Update.RECALL, Update.READ, Update.BADGE)
_PREVIEWS = (Preview.FULL, Preview.SENDER, Preview.NONE)
_ENVIRONMENTS = (ApnsEnvironment.PRODUCTION, ApnsEnvironment.SANDBOX)


def is_compact(record: bytes) -> bool:
    return record[:1] in (_WHOLE, _FOLD, _SHARING)


def dump_offline_message(message: OfflineMessage, payload: bytes) -> bytes:
    id_, is_text = _packed_id(message.message_id)
    if not message.conversation or not all(it.account for it in message.recipients):
        raise ValueError("empty")
    conversation = "" if message.conversation == f"p2p:{message.sender}" else message.conversation
    readers = _NEXT.join([_PART.join(map(_raw, (it.account, *it.resources))) for it in message.recipients])
    texts = map(_raw, (message.app_id, conversation, message.sender, message.biz_type, message.sequence))
    head = _fitted(_MESSAGE, _WHOLE, is_text, message.sent_at_ms, to_ms(message.accepted_at))
    return head + id_ + _END.join([*texts, readers, payload])


def load_offline_message(record: bytes) -> OfflineMessage:
    _, is_text, sent_at_ms, accepted_at_ms = _MESSAGE.unpack_from(record)
    id_, rest = _unpacked_id(record[_MESSAGE.size :], is_text)
    *texts, readers, payload = rest.split(_END, 6)
    app_id, conversation, sender, biz_type, sequence = map(_text, texts)
    recipients = list[Recipient]()
    for reader in readers.split(_NEXT) if readers else ():
        account, *resources = map(_text, reader.split(_PART))
        recipients.append(Recipient(account, tuple(resources)))
    return OfflineMessage(
        id_, app_id, conversation or f"p2p:{sender}", sender, tuple(recipients), payload, biz_type, sequence,
        sent_at_ms, from_ms(accepted_at_ms),
    )  # fmt: skip


def dump_job(job: Job, text: AlertText) -> bytes:
    """`text`: what its alert says, or as much of that as may be kept."""
    return with_its_words(job, dump_words(job.alert, text))


def with_its_words(job: Job, words: bytes) -> bytes:
    """The same of a job whose alert says `words`, as `dump_words` has it."""
    own = dump_own(job)
    return _fitted(_WIDTH, _WHOLE, len(own)) + own + words


def dump_own(job: Job) -> bytes:
    """What a job does not have in common with others of its message."""
    flags, fixed, device_id = _SECOND_CHANCE if job.second_chance else 0, b"", job.device_id
    if job.token_digest:
        flags |= _HAS_DIGEST
        fixed = _sixteen(job.token_digest)
    if uuid := _uuid(device_id):
        flags |= _HAS_UUID
        fixed, device_id = fixed + uuid, ""
    if job.planned_at_ms:
        flags |= _HAS_PLAN
        fixed += _fitted(_MS, job.planned_at_ms)
    texts = [job.app, job.channel, job.account, device_id]
    if job.first_platform or job.history:
        texts += [job.first_platform, compact_json([[to_ms(it.at), it.reason] for it in job.history])]
    return _fitted(_OWN, flags, job.attempt, len(texts)) + fixed + _END.join(map(_raw, texts))


def dump_words(alert: Alert, text: AlertText) -> bytes:
    """What all jobs of a message have in common that say the same. No byte of a text that is not `text`."""
    id_, flags = _packed_id(alert.message_id)
    flags |= _URGENT * alert.urgent | _SILENT * alert.silent | _MENTIONED * alert.mentioned
    texts = [alert.conversation, text.title, text.body]
    if text.kind != Kind.TEXT or text.group or text.sender or text.avatar:
        flags |= _SELDOM
        texts += [text.kind, text.group, text.sender, text.avatar, str(text.count)]
    order = alert.order
    head = _fitted(
        _ALERT, flags, _UPDATES.index(alert.update), order.sequence, order.sent_at_ms, order.accepted_at_ms,
        to_ms(alert.expires_at),
    )  # fmt: skip
    return head + id_ + _END.join(map(_raw, texts))


def load_job(record: bytes) -> Job:
    """One whose words are not there has an alert that has expired: they are kept longer than any of their jobs."""
    if record[:1] == _FOLD:
        count, _, first = record[1:].partition(_END)
        job = load_job(first)
        return _folded(job, int(count))
    if record[:1] == _SHARING:
        own, alert = record[1 + _NAME :], Alert("", "", AlertText("", ""), Order(0, 0, 0), from_ms(0))
    else:
        _, width = _WIDTH.unpack_from(record)
        own, alert = record[_WIDTH.size : _WIDTH.size + width], _load_words(record[_WIDTH.size + width :])
    return _load_own(own, alert)


def sharing(name: bytes, own: bytes) -> bytes:
    """The record of a job whose words have this name."""
    return _SHARING + name + own


def words_name(words: bytes) -> bytes:
    """The same words have the same name."""
    return hashlib.blake2b(words, digest_size=_NAME).digest()


def name_of_words(record: bytes) -> bytes | None:
    """That of the words which the record of a job lacks; None: it has its own."""
    first = record.partition(_END)[2] if record[:1] == _FOLD else record
    return first[1 : 1 + _NAME] if first[:1] == _SHARING else None


def with_words(record: bytes, words: bytes) -> bytes:
    """The whole record of one that lacks these words."""
    if record[:1] == _FOLD:
        count, _, first = record.partition(_END)
        return count + _END + with_words(first, words)
    own = record[1 + _NAME :]
    return _WIDTH.pack(_WHOLE, len(own)) + own + words


def dump_device(device: Device) -> bytes:
    flags = _MORE if device.fallbacks or device.first_platform else 0
    flags |= _SANDBOX if device.environment is ApnsEnvironment.SANDBOX else 0
    token = _hex(device.push_token)
    flags |= 0 if token is None else _TOKEN_IS_HEX
    head = _fitted(_DEVICE, _WHOLE, flags, to_ms(device.registered_at), _PREVIEWS.index(device.preview))
    texts = [device.platform.value, device.account, device.locale, device.resource]
    if flags & _MORE:
        more = [[it.platform, it.push_token, it.environment] for it in device.fallbacks]
        texts += [device.first_platform, compact_json(more)]
    return head + _END.join([*map(_raw, texts), _raw(device.push_token) if token is None else token])


def load_device(app: str, device_id: str, record: bytes, invalid_reason: str) -> Device:
    _, flags, at_ms, preview = _DEVICE.unpack_from(record)
    first, more = "", tuple[Address, ...]()
    platform, account, locale, resource, *rest = record[_DEVICE.size :].split(_END, 6 if flags & _MORE else 4)
    if flags & _MORE:
        first, more = _text(rest[0]), _load_addresses(json.loads(_text(rest[1])))
    token = rest[-1].hex() if flags & _TOKEN_IS_HEX else _text(rest[-1])
    return Device(
        app, _text(account), device_id, Platform(_text(platform)), token, from_ms(at_ms),
        _ENVIRONMENTS[1 if flags & _SANDBOX else 0], _text(locale), _text(resource), invalid_reason,
        _PREVIEWS[preview], more, first,
    )  # fmt: skip


def without_address(record: bytes, platform: str, push_token: str) -> bytes | None:
    """As that of records.py."""
    device = load_device("", "", record, "")
    first, *more = left = [it for it in device.addresses if (it.platform, it.push_token) != (platform, push_token)]
    if len(left) == len(device.addresses):
        return None
    former = device.marked_as
    return dump_device(
        replace(
            device, platform=first.platform, push_token=first.push_token, environment=first.environment,
            fallbacks=tuple(more), first_platform="" if former == first.platform else former,
        )
    )  # fmt: skip


def _load_addresses(found: Any) -> tuple[Address, ...]:
    return tuple(Address(Platform(platform), token, ApnsEnvironment(world)) for platform, token, world in found)


def _load_own(own: bytes, alert: Alert) -> Job:
    flags, attempt, count = _OWN.unpack_from(own)
    at, digest, uuid, planned_at_ms = _OWN.size, "", "", 0
    if flags & _HAS_DIGEST:
        at, digest = at + _ID, own[at : at + _ID].hex()
    if flags & _HAS_UUID:
        at, uuid = at + _ID, _uuid_text(own[at : at + _ID])
    if flags & _HAS_PLAN:
        (planned_at_ms,), at = _MS.unpack_from(own, at), at + _MS.size
    texts = own[at:].split(_END)
    if len(texts) != count:
        raise ValueError("texts")
    app, channel, account, device_id, *more = map(_text, texts)
    tries = tuple(Try(from_ms(ms), reason) for ms, reason in json.loads(more[1])) if more else ()
    return Job(
        app, channel, account, uuid or device_id, alert, attempt, bool(flags & _SECOND_CHANCE), tries, digest,
        planned_at_ms, more[0] if more else "",
    )  # fmt: skip


def _load_words(words: bytes) -> Alert:
    flags, update, sequence, sent_at_ms, accepted_at_ms, expires_at_ms = _ALERT.unpack_from(words)
    id_, rest = _unpacked_id(words[_ALERT.size :], flags & _ID_IS_TEXT)
    conversation, title, body, *more = map(_text, rest.split(_END))
    text = AlertText(title, body)
    if flags & _SELDOM:
        kind, group, sender, avatar, count = more
        text = AlertText(title, body, kind, group, sender, avatar, int(count))
    return Alert(
        id_, conversation, text, Order(sequence, sent_at_ms, accepted_at_ms), from_ms(expires_at_ms),
        bool(flags & _URGENT), bool(flags & _SILENT), bool(flags & _MENTIONED), _UPDATES[update],
    )  # fmt: skip


def _folded(job: Job, count: int) -> Job:
    text = job.alert.text.folded(is_group=job.alert.conversation.startswith("topic:"), count=count)
    return replace(job, alert=replace(job.alert, text=text))


def _packed_id(id_: str) -> tuple[bytes, int]:
    """Sixteen bytes, or where it is no such digest its text, and whether it is that."""
    raw = _hex(id_)
    return (raw, 0) if raw is not None and len(raw) == _ID else (_raw(id_) + _END, 1)


def _unpacked_id(rest: bytes, is_text: int) -> tuple[str, bytes]:
    if not is_text:
        return rest[:_ID].hex(), rest[_ID:]
    id_, _, rest = rest.partition(_END)
    return _text(id_), rest


def _hex(text: str) -> bytes | None:
    """The bytes that it spells in lower case; None where it is another text."""
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        return None
    return raw if raw.hex() == text else None


def _sixteen(digits: str) -> bytes:
    raw = _hex(digits)
    if raw is None or len(raw) != _ID:
        raise ValueError("digest")
    return raw


def _uuid(text: str) -> bytes | None:
    """Of one that is spelled as usual."""
    if len(text) != _UUID_DIGITS or text[8] + text[13] + text[18] + text[23] != "----":
        return None
    raw = _hex(text.replace("-", ""))
    return raw if raw is not None and len(raw) == _ID else None


def _uuid_text(raw: bytes) -> str:
    """A fifth of the time that UUID takes."""
    it = raw.hex()
    return f"{it[:8]}-{it[8:12]}-{it[12:16]}-{it[16:20]}-{it[20:]}"


def _fitted(form: Struct, *values: Any) -> bytes:
    try:
        return form.pack(*values)
    except struct.error:
        raise ValueError("does not fit") from None


def _raw(text: str) -> bytes:
    """Of any text, half of a surrogate pair too."""
    return text.encode("utf-8", "surrogatepass")


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogatepass")
