"""docs/alerts.md, made from the program itself: what each kind of message becomes on the wire.

python -m tests.docs.alerts_page > docs/alerts.md
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qsl

from proxy.channels.apns.wire import ApnsWire
from proxy.channels.mipush.wire import MipushWire
from proxy.domain.alerts import Alert, AlertText, Update
from proxy.domain.callbacks import Recipient
from proxy.domain.devices import ApnsEnvironment, Device, Platform
from proxy.domain.jobs import Job, Push
from proxy.domain.kinds import SAID, Kind
from proxy.domain.offline_messages import OfflineMessage
from proxy.domain.previews import Preview
from proxy.domain.words import WORDS
from proxy.ports import Wire
from proxy.settings import ApnsSettings, MessageSettings, MipushSettings
from proxy.usecases.plan_alerts import alert_of
from proxy.wiring.messages import reading_of, vocabulary_of

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
DAY = timedelta(days=1)
APNS = ApnsSettings.model_validate(
    {"team_id": "TEAM567890", "key_id": "KEY4567890", "key_file": Path(__file__), "topic": "com.example.chat"}
)
MIPUSH = MipushSettings.model_validate({"app_secret": "s", "package": "com.example.chat", "address": "regid"})
OWN = {kind.value: {"kind": kind.value} for kind in SAID}
HEAD = """# What each alert is on the wire

This page is made by the program: `python -m tests.docs.alerts_page > docs/alerts.md`; a test compares the two. The
message is ann's to ben, and its text, where it has one, is "hi there". How a payload becomes a kind is in
[callbacks.md](callbacks.md#how-a-payload-becomes-words).

`sender` and `none` say the same of every kind; only a call stays time-sensitive and expires after 30 s.
"""


def page() -> str:
    return "\n".join([HEAD, *_apns(), *_apns_device(), *_mipush(), *_updates()]) + "\n"


def _apns() -> Iterator[str]:
    yield from ("## APNs", "", "A whole request, of a text:", "", "```text")
    yield from _whole(ApnsWire(APNS, ApnsEnvironment.PRODUCTION, vocabulary_of(MessageSettings())), _push("text", "en"))
    yield from ("```", "", "Of every kind, in each language, what is in `aps` beside `thread-id` and `sound`:", "")
    yield from ("| preview | kind | language | `aps` |", "|---|---|---|---|")
    yield from (f"| {preview} | {kind} | {language} | `{_aps(_said_by_apns(preview, kind, language, 'server'))}` |"
                for preview, kind, language in _rows())  # fmt: skip
    yield ""


def _apns_device() -> Iterator[str]:
    yield from ('## APNs with `localized = "device"`', "", "The words are the app's, by its Localizable.strings:", "")
    yield from ("| preview | kind | `aps` |", "|---|---|---|")
    yield from (f"| {preview} | {kind} | `{_aps(_said_by_apns(preview, kind, language, 'device'))}` |"
                for preview, kind, language in _rows() if language == "en")  # fmt: skip
    yield ""


def _mipush() -> Iterator[str]:
    yield from ("## Mi Push", "", "A whole request, of a text (the form one member a line):", "", "```text")
    yield from _whole(MipushWire(MIPUSH, vocabulary_of(MessageSettings())), _push("text", "en"))
    yield from ("```", "", "Of every kind, in each language; accounts are told in `messages.language`:", "")
    yield from ("| preview | kind | language | `title` | `description` | `time_to_live` |", "|---|---|---|---|---|---|")
    for preview, kind, language in _rows():
        wire = MipushWire(MIPUSH, vocabulary_of(MessageSettings(preview=preview.value)))
        form = dict(parse_qsl(wire.build([_push(kind, language)], "key=...", NOON).body.decode()))
        shown = (form["title"], form["description"], form["time_to_live"])
        yield f"| {preview} | {kind} | {language} | {' | '.join(f'`{it}`' for it in shown)} |"


def _updates() -> Iterator[str]:
    yield from (
        "",
        "## Updates of an alert",
        "",
        "With `alerts.withdraw` and `alerts.badge`, once the alert was pushed.",
        "",
    )
    yield from ("| update | language | APNs: `aps` |", "|---|---|---|")
    for recall, update in (("replace", Update.RECALL), ("background", Update.RECALL), ("replace", Update.READ)):
        for language in WORDS if (recall, update) == ("replace", Update.RECALL) else ("any",):
            how = f'{update}, `apns.recall = "{recall}"`' if update is Update.RECALL else str(update)
            request = _apns_of(recall).build([_updating(update, language)], "...", NOON)
            yield f"| {how} | {language} | `{_aps(request.body)}` |"
    for title, update in (("That it was read, or with `background` that it was recalled", Update.READ),
                          ("The number alone", Update.BADGE)):  # fmt: skip
        yield from (
            "",
            f"{title}, at APNs:",
            "",
            "```text",
            *_whole(_apns_of("replace"), _updating(update, "en")),
            "```",
        )
    wire = MipushWire(MIPUSH, vocabulary_of(MessageSettings()))
    yield from ("", "Either, at Mi Push, while the alert is the one shown:", "", "```text")
    yield from (*_whole(wire, _updating(Update.RECALL, "en")), "```")


def _apns_of(recall: str) -> ApnsWire:
    settings = APNS.model_copy(update={"recall": recall})
    return ApnsWire(settings, ApnsEnvironment.PRODUCTION, vocabulary_of(MessageSettings()))


def _updating(update: Update, language: str) -> Push:
    push = _push("text", language)
    text = AlertText("ann", "", Kind.RECALL)
    alert = replace(push.job.alert, text=text, silent=True, update=update)
    return replace(push, job=replace(push.job, alert=alert), badge=2 if update is Update.BADGE else None)


def _rows() -> Iterator[tuple[Preview, str, str]]:
    for preview in Preview:
        for kind in SAID if preview is Preview.FULL else ("text", "call"):
            yield from ((preview, str(kind), language) for language in WORDS)


def _said_by_apns(preview: Preview, kind: str, language: str, localized: str) -> bytes:
    settings = APNS.model_copy(update={"localized": localized})
    wire = ApnsWire(settings, ApnsEnvironment.PRODUCTION, vocabulary_of(MessageSettings(preview=preview.value)))
    return wire.build([_push(kind, language)], "bearer ...", NOON).body


def _aps(body: bytes) -> str:
    aps = json.loads(body)["aps"]
    return json.dumps({name: aps[name] for name in aps if name not in ("thread-id", "sound")}, ensure_ascii=False)


def _alert(kind: str) -> Alert:
    payload = json.dumps({"type": kind, "payload": "hi there"}).encode()
    message = OfflineMessage(
        "0123456789abcdef0123456789abcdef", "1", "p2p:ann", "ann", (Recipient("ben"),), payload, "", "7", 0, NOON
    )
    reading = reading_of(MessageSettings.model_validate({"types": OWN}))
    alert = alert_of(message, reading.read(payload, ""), NOON, DAY)
    assert isinstance(alert, Alert)
    return alert


def _push(kind: str, language: str) -> Push:
    device = Device("main", "ben", "phone", Platform.APNS, "0a1b" * 16, NOON, locale=language)
    return Push(Job("main", "apns", "ben", "phone", _alert(kind)), replace(device, locale=language))


def _whole(wire: Wire, push: Push) -> Iterator[str]:
    request = wire.build([push], "...", NOON)
    yield f"POST {request.url}"
    yield from (line for line in request.headers if not line.endswith(":"))
    yield ""
    body = request.body.decode()
    yield from [body] if body.startswith("{") else [f"{name}={value}" for name, value in parse_qsl(body)]


if __name__ == "__main__":
    sys.stdout.write(page())
