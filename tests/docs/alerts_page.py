"""docs/alerts.md, made from the program itself: what each kind of message becomes on the wire.

python -m tests.docs.alerts_page > docs/alerts.md

Of each channel one request is shown whole. What another message, reader or setting changes is not written down but
found, by comparing its request with that one.
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from proxy.channels.apns.wire import ApnsWire
from proxy.channels.http.wire import HttpWire
from proxy.channels.mipush.wire import MipushWire
from proxy.domain.alerts import Alert, Update
from proxy.domain.callbacks import Recipient
from proxy.domain.devices import BADGED, ApnsEnvironment, Device, Platform
from proxy.domain.jobs import Job, Push
from proxy.domain.kinds import SAID, Kind
from proxy.domain.offline_messages import OfflineMessage
from proxy.domain.previews import Preview
from proxy.domain.transfers import Request
from proxy.domain.words import WORDS
from proxy.ports import Wire
from proxy.settings import ApnsSettings, HttpSettings, MessageSettings, MipushSettings
from proxy.usecases.plan_alerts import alert_of
from proxy.wiring.messages import reading_of, vocabulary_of

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
DAY = timedelta(days=1)
APNS = {"team_id": "TEAM567890", "key_id": "KEY4567890", "key_file": Path(__file__), "topic": "com.example.chat"}
MIPUSH = {"app_secret": "s", "package": "com.example.chat", "address": "regid"}
HTTP = {"url": "https://push.example.com/alerts", "secret": "whsec_" + "A" * 32}
OWN = {kind.value: {"kind": kind.value} for kind in SAID}
GROUP, OF_TWO = "topic:21351198708203520", "p2p:ann"
HEAD = """# What each alert is on the wire

This page is made by the program: `python -m tests.docs.alerts_page > docs/alerts.md`; a test compares the two.

For [APNs](#apns), [Mi Push](#mi-push) and [your own sender](#your-own-sender) it shows one request whole: ann wrote
"hi there" to ben. Below it is what differs

- for each **kind** of message, **preview** and **language**: look for the row of preview and kind, and the column of
  the language. A cell has the title, then the text; the last column what else is different;
- for each **case**: a group, a silent alert, the number of unread messages, what a setting changes.

What is not named is as in the whole request. [Updates](#updates) recall an alert, take back one that was read
elsewhere, or change the number. The previews are `full`, `sender` (no text) and `none` (no name either): the strictest
of app, account and device. [callbacks.md](callbacks.md#how-a-payload-becomes-words) tells how a payload becomes a kind,
and how an app has words of its own, in other languages too.
"""


@dataclass(frozen=True)
class Message:
    """What ann writes to ben, and how he is told. `badge`: how many messages he has not read."""

    kind: str = "text"
    language: str = "en"
    preview: Preview = Preview.FULL
    conversation: str = OF_TWO
    group: str = ""
    avatar: str = ""
    silent: bool = False
    mentioned: bool = False
    badge: int | None = None
    update: Update | None = None
    count: int = 0  # of messages that are told together


@dataclass(frozen=True)
class Channel:
    """One way to ben's phone. `words` are where title and text stand in a request; `make`: the settings' wire."""

    title: str
    platform: Platform
    words: tuple[str, str]
    settings: Mapping[str, Any]
    make: Callable[[Mapping[str, Any]], Wire]
    cases: Sequence[tuple[str, Message, Mapping[str, Any]]] = field(default=())

    def request(self, message: Message, **settings: Any) -> Request:
        device = Device("main", "ben", "phone-1", self.platform, "0a1b" * 8, NOON, locale=message.language)
        by_account = settings.get("address", self.settings.get("address")) == "account"
        job = Job("main", self.platform, "ben", "" if by_account else "phone-1", _alert(message))
        push = Push(job, None if by_account else device, message.badge if self.platform in BADGED else None)
        return self.make({**self.settings, **settings}).build([push], "...", NOON)


def _apns(settings: Mapping[str, Any]) -> Wire:
    environment = settings.get("environment", ApnsEnvironment.PRODUCTION)
    known = {name: value for name, value in settings.items() if name != "environment"}
    return ApnsWire(ApnsSettings.model_validate(known), environment, vocabulary_of(MessageSettings()))


def _mipush(settings: Mapping[str, Any]) -> Wire:
    return MipushWire(MipushSettings.model_validate(settings), vocabulary_of(MessageSettings()), "main")


def _http(settings: Mapping[str, Any]) -> Wire:
    return HttpWire(HttpSettings.model_validate(settings), vocabulary_of(MessageSettings()))


def _template(**variables: str) -> dict[str, Any]:
    return {"id": "P00001", "variables": variables}


IN_GROUP = Message(conversation=GROUP, group="Weekend")
SILENT = Message(silent=True)
COUNTED = Message(badge=3)
USUAL: Sequence[tuple[str, Message, Mapping[str, Any]]] = (
    ("in the group Weekend", IN_GROUP, {}),
    ("in a group whose name is not told", replace(IN_GROUP, group=""), {}),
    ("silent: quiet hours, or a type that is", SILENT, {}),
    ("3 unread, with `alerts.badge`", COUNTED, {}),
)
AVATAR = "https://example.com/ann.png"
CHANNELS = (
    Channel(
        "APNs",
        Platform.APNS,
        ("aps.alert.title", "aps.alert.body"),
        APNS,
        _apns,
        (
            *USUAL,
            ("device of the sandbox", Message(), {"environment": ApnsEnvironment.SANDBOX}),
            ('`sound = ""`', Message(), {"sound": ""}),
            ("`communication = true`", Message(avatar=AVATAR), {"communication": True}),
            ("the same in the group", replace(IN_GROUP, avatar=AVATAR), {"communication": True}),
            ("the same at preview `none`", Message(preview=Preview.NONE, avatar=AVATAR), {"communication": True}),
        ),
    ),
    Channel(
        "Mi Push",
        Platform.MIPUSH,
        ("title", "description"),
        MIPUSH,
        _mipush,
        (
            *USUAL,
            ('`address = "account"`', Message(), {"address": "account"}),
            ('`channel_id = "104551"`', Message(), {"channel_id": "104551"}),
            ("`template`", Message(), {"template": _template(name="sender", words="text")}),
            ("`group_template`, in the group", IN_GROUP, {"group_template": _template(group="group", words="text")}),
            (
                "`mention_template`, the group's message names ben",
                replace(IN_GROUP, mentioned=True),
                {"mention_template": _template(group="group", name="sender")},
            ),
            ("`call_template`, of a call", Message("call"), {"call_template": _template(name="sender")}),
            (
                '`notify_effect = "2"`',
                Message(),
                {"notify_effect": "2", "intent_uri": "intent:#Intent;S.id={conversation};end"},
            ),
            (
                "`receipts`",
                Message(),
                {"receipts": "https://chat.example.com", "receipt_secret": "0123456789abcdef0123456789abcdef"},
            ),
        ),
    ),
    Channel(
        "Your own sender",
        Platform.HTTP,
        ("data.title", "data.body"),
        HTTP,
        _http,
        (*USUAL, ('`address = "account"`', Message(), {"address": "account"})),
    ),
)


def page() -> str:
    parts = [HEAD]
    for channel in CHANNELS:
        parts += [f"## {channel.title}\n", *_whole(channel.request(Message())), "", *_kinds(channel), ""]
        parts += [*_cases(channel), ""]
        if channel.platform is Platform.APNS:
            parts += [*_localized(channel), ""]
    return "\n".join([*parts, *_folds(), "", *_updates()]) + "\n"


def _kinds(channel: Channel) -> Iterator[str]:
    yield f"| preview | kind | {' | '.join(WORDS)} | else |"
    yield f"|---|---|{'---|' * len(WORDS)}---|"
    for preview in Preview:
        if preview is Preview.FULL:
            rows = {str(kind): _row(channel, preview, str(kind)) for kind in SAID}
        else:  # of every kind the same, and a page that said otherwise is not made
            rows = {"call": _row(channel, preview, "call"), "any other": _row(channel, preview, "text")}
            others = {_row(channel, preview, str(kind)) for kind in SAID if kind is not Kind.CALL}
            assert others == {rows["any other"]}, others
        yield from (f"| {preview} | {kind} | {row} |" for kind, row in rows.items())


def _row(channel: Channel, preview: Preview, kind: str) -> str:
    cells, beside = [], set[str]()
    whole = _members(channel.request(Message()))
    for language in WORDS:
        found = _members(channel.request(Message(kind, language, preview)))
        cells.append(" ".join(f"`{_plain(found[name])}`" for name in channel.words if name in found))
        told = {name: value for name, value in found.items() if not name.endswith("locale")}
        beside.add(_differences(whole, told, but=(*channel.words, "data.device.locale")))
    (same,) = beside  # in each language
    return f"{' | '.join(cells)} | {same}"


def _cases(channel: Channel) -> Iterator[str]:
    whole = _members(channel.request(Message()))
    yield from ("| case | what is different |", "|---|---|")
    for what, message, settings in channel.cases:
        found = _differences(whole, _members(channel.request(message, **settings)))
        yield f"| {what} | {found or 'nothing'} |"


def _localized(channel: Channel) -> Iterator[str]:
    yield 'With `localized = "device"` the words are the app\'s, from its Localizable.strings, where it has no text:'
    yield from ("", "| preview | kind | what is different |", "|---|---|---|")
    whole = _members(channel.request(Message()))
    for preview in Preview:
        for kind in SAID if preview is Preview.FULL else (Kind.CALL, Kind.TEXT):
            request = channel.request(Message(str(kind), preview=preview), localized="device")
            name = str(kind) if preview is Preview.FULL or kind is Kind.CALL else "any other"
            yield f"| {preview} | {name} | {_differences(whole, _members(request)) or 'nothing'} |"


def _folds() -> Iterator[str]:
    yield from ("## Messages that are told together", "", "With `alerts.fold_s`, three of them at APNs:", "")
    yield from (*_whole(CHANNELS[0].request(Message(count=3))), "")
    yield from (f"| preview | messages | {' | '.join(WORDS)} |", f"|---|---|{'---|' * len(WORDS)}")
    title, body = CHANNELS[0].words
    for preview in (Preview.FULL, Preview.NONE):
        for count in (1, 3):
            told = [_members(CHANNELS[0].request(Message("text", it, preview, count=count))) for it in WORDS]
            cells = [" ".join(f"`{_plain(it[name])}`" for name in (title, body) if name in it) for it in told]
            yield f"| {preview} | {count} | {' | '.join(cells)} |"
    yield from ("", "| case | what is different from an alert of one message |", "|---|---|")
    for channel in CHANNELS:
        for where, one in (("", Message()), (", in the group Weekend", IN_GROUP)):
            whole, fold = (_members(channel.request(it)) for it in (one, replace(one, count=3)))
            yield f"| {channel.title}{where} | {_differences(whole, fold)} |"
    whole, chosen = (_members(CHANNELS[0].request(Message(count=3), localized=it)) for it in ("server", "device"))
    yield f'| APNs with `localized = "device"`, from the request above | {_differences(whole, chosen)} |'


def _updates() -> Iterator[str]:
    recall, read, number = (
        Message(update=update, silent=True, badge=2) for update in (Update.RECALL, Update.READ, Update.BADGE)
    )
    apns, mipush, http = CHANNELS
    yield from ("## Updates", "", "With `alerts.withdraw` and `alerts.badge`, once an alert was pushed.", "")
    yield from ("### Updates at APNs", "", "Recalled:", "", *_whole(apns.request(recall)), "")
    yield from (f"| language | {' | '.join(WORDS)} |", f"|---|{'---|' * len(WORDS)}")
    words = [_members(apns.request(replace(recall, language=it)))["aps.alert.body"] for it in WORDS]
    yield from (f"| `aps.alert.body` | {' | '.join(f'`{_plain(it)}`' for it in words)} |", "")
    yield from ("Read elsewhere:", "", *_whole(apns.request(read)), "")
    whole, told = (_members(apns.request(it, recall="background")) for it in (read, recall))
    yield 'Recalled, with `recall = "background"`, differs from that by'
    yield from (f"{_differences(whole, told)}.", "")
    yield from ("The number alone, after a read elsewhere or `POST /api/badge`:", "", *_whole(apns.request(number)), "")
    yield "### Updates at Mi Push"
    yield from ("", "Recalled, or read elsewhere, while the alert is the one that its conversation shows:", "")
    yield from (*_whole(mipush.request(recall)), "", "There is no number.", "")
    yield from ("### Updates for your own sender", "", "Recalled:", "", *_whole(http.request(recall)), "")
    differs = _differences(_members(http.request(recall)), _members(http.request(read)))
    yield f"Read elsewhere differs from that by {differs}."
    yield "The number alone is not sent: it comes with the next alert."


def _alert(message: Message) -> Alert:
    payload = json.dumps(
        {"type": message.kind, "payload": "hi there", "groupName": message.group, "avatar": message.avatar}
    )
    written = OfflineMessage(
        "0123456789abcdef0123456789abcdef", "1", message.conversation, "ann", (Recipient("ben"),), payload.encode(), "",
        "7", 0, NOON,
    )  # fmt: skip
    settings = MessageSettings.model_validate({"types": OWN, "group_name": ["groupName"], "sender_avatar": ["avatar"]})
    reading = reading_of(settings, tells_sender=bool(message.avatar))
    alert = alert_of(written, reading.read(written.payload, ""), NOON, DAY)
    assert isinstance(alert, Alert)
    if message.count:
        alert = alert.folded()
        alert = replace(alert, text=replace(alert.text, count=message.count))
    text = alert.text.at(message.preview)
    if message.update is not None:
        text = replace(text, body="", kind=Kind.RECALL)
    silent, mentioned = message.silent, message.mentioned
    return replace(alert, text=text, silent=silent, mentioned=mentioned, update=message.update)


def _members(request: Request) -> dict[str, str]:
    """Everything that a request says, by name: a value of JSON as JSON, else as it is."""
    found = {"POST": request.url}
    found |= {name: value for name, _, value in (line.partition(": ") for line in _headers(request))}
    body = request.body.decode()
    return found | (dict(_flat("", json.loads(body))) if body.startswith("{") else dict(parse_qsl(body)))


def _headers(request: Request) -> Iterator[str]:
    """Without those that only keep libcurl from sending its own; signatures are new in each request."""
    for line in request.headers:
        if line.startswith("webhook-signature: "):
            yield "webhook-signature: v1,..."
        elif not line.endswith(":"):
            yield line


def _flat(place: str, value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, its in value.items():
            yield from _flat(f"{place}.{name}" if place else name, its)
    else:
        yield place, json.dumps(value, ensure_ascii=False)


def _differences(whole: Mapping[str, str], other: Mapping[str, str], but: Sequence[str] = ()) -> str:
    gone = [f"no `{name}`" for name in whole if name not in other and name not in but]
    new = [f"`{name}: {value}`" for name, value in other.items() if whole.get(name) != value and name not in but]
    return ", ".join((*new, *gone)).replace("|", "\\|")


def _plain(value: str) -> str:
    return str(json.loads(value)) if value.startswith('"') else value


def _whole(request: Request) -> Iterator[str]:
    yield "```text"
    yield f"POST {request.url}"
    yield from _headers(request)
    yield ""
    body = request.body.decode()
    yield from [body] if body.startswith("{") else [f"{name}={value}" for name, value in parse_qsl(body)]
    yield "```"


if __name__ == "__main__":
    sys.stdout.write(page())
