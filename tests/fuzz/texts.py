"""What MIMC and the store hand us: callbacks, their authentication, payloads and records."""

import hashlib
import json
from base64 import b64encode
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from proxy.domain.callbacks import Callback, CallbackOrigin
from proxy.domain.decisions import decide
from proxy.domain.devices import Address, Platform
from proxy.domain.jobs import ClaimedJob
from proxy.domain.messages import DEFAULT_READING, MAX_BODY, MAX_TITLE
from proxy.domain.offline_messages import offline_message
from proxy.domain.transfers import Response
from proxy.domain.words import Vocabulary
from proxy.errors import BadCallback
from proxy.mimc.authentication import authentic, is_authentic
from proxy.mimc.wire import parse_callback
from proxy.spool import format as spool
from proxy.store.records import (
    UnreadableRecord,
    dump_device,
    dump_job,
    dump_offline_message,
    load_dead_letter,
    load_device,
    load_job,
    load_offline_message,
    without_address,
)
from proxy.usecases.accept_callback import judge_callback
from tests.channels.pushes import an_alert
from tests.channels.test_contract import CASES
from tests.fuzz.loop import Target
from tests.store import golden

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
DAY = timedelta(days=1)
SECRETS = {"1": "secret of the tests", "2": "another secret of the tests"}


def callbacks() -> Target:
    """Body -> callback -> what intake stores -> what plan reads."""
    return Target("callbacks", _callback, [_json(members) for members in _CALLBACKS], _members(_CALLBACKS))


def authentication() -> Target:
    """A value and a timestamp, a line each; after the line `seal` the third is what was sealed with our secret."""
    seeds = [b"seal\n1793534400000\n\x0f\0\0\0001793534400000_1", b"seal\n1793534400\n\0\0\0\x0c1793534400_2"]
    seeds += [b"value\n1793534400000\n" + b64encode(bytes(32)), b"value\n\nwords that are no base64"]
    return Target("authentication", _authentication, seeds, [b"_1", b"_", b"1793534400000", b"\0\0\0\x0c", b"="])


def payloads() -> Target:
    """biz type, sender and payload, a line each."""
    seeds = [f"{biz}\n{sender}\n".encode() + payload for biz, sender, payload in _PAYLOADS]
    return Target("payloads", _payload, seeds, [b"TEXT", b"PIC_FILE", b"103", b'"payload"', b'"content"', b"%E4%BD"])


def records() -> Target:
    """What lies in the store, written by this program, by another one or by no program at all."""
    message = offline_message(golden.TO_A_GROUP, NOW)
    seeds = [
        dump_offline_message(message),
        dump_offline_message(message, with_payload=False),
        dump_device(golden.IPHONE),
        dump_device(replace(golden.IPHONE, fallbacks=(Address(Platform.HTTP, "fcm:1"),)).at(1)),
    ]
    seeds += [dump_job(job) for job in golden.jobs()]
    return Target("records", _record, seeds, [b'"v":1', b'"v":2', b'"text"', b'"order"', b'"to"', b"null"])


def answers() -> Target:
    """What a provider, a sender or whoever stands between says to a push: a channel, a status, headers and a body."""
    seeds = [f"{channel}\n{status}\n{headers}\n".encode() + body for channel, status, headers, body in _ANSWERS]
    return Target("answers", _answer, seeds, [b"http", b"mipush", b"410", b"retry-after: 3", b'"reason"', b'"code"'])


def spool_files() -> Target:
    """What a process that was killed, a full disk or a wrong byte may leave of a file of the spool."""
    one, two = spool.dump("0" * 32, b'{"v":1}'), spool.dump("f" * 32, b"{}")
    done = spool.DONE + two[4:]
    return Target(
        "spool_files", _spool_file, [one, one + done, one[:-3], done + one[:20], b"\xff"], [spool.WAITING, one]
    )


def _callback(body: bytes) -> None:
    callback = None
    with suppress(BadCallback):
        callback = parse_callback(body)
    if callback is None:
        return
    authentic(callback.origin, "1", SECRETS["1"])
    judge_callback(callback, now=NOW, second_clock=lambda: NOW, dedupe_ttl=DAY)
    if isinstance(callback, Callback):
        assert len(callback.callback_id) == len(callback.message_id) == 32
        message = offline_message(callback, NOW)
        assert load_offline_message(dump_offline_message(message)) == message
        content = DEFAULT_READING.read(message.payload, message.biz_type)
        alert = message.alert(content.alert_text(message.sender), DAY)
        assert alert.expires_at + DAY > NOW
        assert not alert.order.is_later_than(alert.order)


def _authentication(content: bytes) -> None:
    form, timestamp, value = (*content.split(b"\n", 2), b"", b"")[:3]
    text = timestamp.decode("latin-1")
    if form == b"seal":
        sealed = _sealed(value).decode()
        for app_id, secret in SECRETS.items():
            assert is_authentic(sealed, secret, app_id, text) in (True, False)
        for app_id, secret in SECRETS.items():
            authentic(CallbackOrigin("1", ("1", "2"), text, sealed), app_id, secret)
    else:
        assert not is_authentic(value.decode("utf-8", "surrogateescape"), SECRETS["1"], "1", text)


def _sealed(clear: bytes) -> bytes:
    key = hashlib.md5(SECRETS["1"].encode(), usedforsecurity=False).digest()
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305  MIMC's choice
    return b64encode(encryptor.update(clear + bytes(-len(clear) % 16)) + encryptor.finalize())


def _payload(lines: bytes) -> None:
    biz_type, sender, payload = (*lines.split(b"\n", 2), b"", b"")[:3]
    content = DEFAULT_READING.read(payload, biz_type.decode("utf-8", "replace"))
    shown = Vocabulary().say(content.alert_text(sender.decode("utf-8", "replace")), "zh-TW")
    assert len(shown.title) <= MAX_TITLE
    assert 0 < len(shown.body) <= MAX_BODY
    (shown.title + shown.body).encode()


def _record(record: bytes) -> None:
    with suppress(UnreadableRecord):
        message = load_offline_message(record)
        assert load_offline_message(dump_offline_message(message)) == message
    with suppress(UnreadableRecord):
        job = load_job(record)
        assert load_job(dump_job(job)) == job
        assert job.id
    with suppress(UnreadableRecord):
        device = load_device("main", "phone", record)
        assert load_device("main", "phone", dump_device(device)) == device
        left = without_address(record, device.platform, device.push_token)
        assert left is None or load_device("main", "phone", left).registered_at == device.registered_at
    for kind in ("job", "callback", "record", ""):
        load_dead_letter(kind, record)


def _answer(content: bytes) -> None:
    channel, status, headers, body = (*content.split(b"\n", 3), b"", b"", b"", b"")[:4]
    case = _WIRES.get(channel.decode("latin-1"), _WIRES["http"])
    lines = [line.partition(": ") for line in headers.decode("latin-1").split("; ")]
    named = {name: value for name, _, value in lines}
    response = Response(int(status) if status.isdigit() and len(status) < 4 else 200, named, body)
    for push in case.push(an_alert(), 1), case.push(an_alert(), 2):
        (outcome,) = case.wire.read([push], response, NOW)
        decide(ClaimedJob(b"0-1", push.job), outcome, sent_at=NOW, now=NOW, backoff=lambda _: DAY)


def _spool_file(data: bytes) -> None:
    at = 0
    for found in spool.walk(data):
        assert found.start == at < found.end
        at = found.end
        if isinstance(found, spool.Record):
            again = spool.dump(found.callback_id, found.body)
            assert data[found.start + 4 : found.end] == again[4:] or not found.callback_id.isascii()
    assert at == len(data)


def _json(members: object) -> bytes:
    return json.dumps(members, ensure_ascii=False).encode()


def _members(bodies: list[dict[str, object]]) -> list[bytes]:
    return [f'"{name}"'.encode() for name in sorted({name for body in bodies for name in body})]


_OLD = {"fromAccount": "ann", "payload": "aGk=", "timestamp": "1795435000000"}
_NEW = _OLD | {
    "fromResource": "r1", "packetId": "p-17", "sequence": "154503794553568001", "bizType": "TEXT",
    "authentication": "AAAAAAAAAAAAAAAAAAAAAA==",
}  # fmt: skip
_CALLBACKS: list[dict[str, object]] = [
    {"msgType": "OFFLINE_MSG", "fromAppId": "1", "toAppId": "1", "toAccount": "ben", **_OLD},
    {"msgType": "OFFLINE_MSG", "fromAppId": 2, "toAppId": 1, "toAccount": "ben", "offlineResources": ["a"], **_NEW},
    {"msgType": "NORMAL_MSG", "fromAppId": "1", "toAppId": "1", "toAccount": "ben", "toResource": "r", **_NEW},
    {"msgType": "OFFLINE_TOPIC_MSG", "appId": "1", "topicId": "77", "toAccounts": ["ben", "cai"], **_OLD},
    {
        "msgType": "OFFLINE_TOPIC_MSG", "appId": 1, "topicId": 77, "toAccounts": [],
        "offlineAccounts": [{"toAccount": "ben", "offlineResources": ["a", "b"]}], **_NEW,
    },
    {"msgType": "NORMAL_TOPIC_MSG", "appId": "1", "topicId": "77", "toAccounts": ["ben"], **_NEW},
    {"msgType": "UCTOPIC_MSG", "appId": "1", "timestamp": 1795435000},
]  # fmt: skip
_WIRES = {name.partition(" ")[0]: case for name, case in CASES.items()}
_ANSWERS = [
    ("apns", 410, "apns-id: 1", b'{"reason":"Unregistered","timestamp":1793534400000}'),
    ("apns", 429, "retry-after: 3", b'{"reason":"TooManyRequests"}'),
    ("mipush", 200, "", b'{"code":0,"data":{"id":"1","bad_regids":"r"},"result":"ok"}'),
    ("mipush", 200, "", b'{"code":10017,"reason":"x","trace_id":"1"}'),
    ("http", 410, "", b'{"reason":"unregistered"}'),
    ("http", 503, "retry-after: Mon, 23 Nov 2026 12:00:03 GMT", b"<html>"),
]
_PAYLOADS = [
    ("TEXT", "ann", b"hi there"),
    ("TEXT", "ann", b'{"version":0,"msgId":"1","timestamp":1,"payload":"5L2g5aW9"}'),
    ("", "安娜", '{"version":0,"type":"TEXT","payload":"你好"}'.encode()),
    ("", "ann", b'{"msgType":"103","content":"JUU0JUJEJUEw"}'),
    ("", "ann", b64encode(b'{"biz_type":"text","payload":"hello"}')),
    ("PIC_FILE", "ann", b"{}"),
    ("", "", b"\xff\xfe"),
]
