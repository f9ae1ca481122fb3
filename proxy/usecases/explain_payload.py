"""What a payload says in each language, and why: which path, type and rule decided. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from proxy.domain.alerts import AlertText
from proxy.domain.kinds import SILENT, WITH_TEXT
from proxy.domain.messages import Content, Found, MessageReading, Path, envelope_of
from proxy.domain.words import Vocabulary


@dataclass(frozen=True)
class Explanation:
    """`reasons`: what was looked at and what came of it, in order. `says` by language; empty where no alert follows."""

    content: Content
    type: str
    rule: str
    expiry: timedelta | None
    reasons: list[tuple[str, str]] = field(repr=False)
    says: Mapping[str, AlertText] = field(repr=False)


def explain_payload(
    payload: bytes,
    biz_type: str,
    sender: str,
    reading: MessageReading,
    vocabulary: Vocabulary,
    *,
    asks_names: bool = False,
) -> Explanation:
    """The same reading as the plan's, with its reasons. `sender` is their account; `asks_names`: the plan asks a server
    for names that the payload lacks, which is not done here."""
    content = reading.read(payload, biz_type)
    envelope = envelope_of(payload)
    members = envelope or {}
    types = reading.types(envelope, biz_type)
    rule = reading.rule(types)
    decided = next((it for it in types if it.value in reading.rules), None)
    others = [it for it in types if it.value and it is not decided]
    reasons = [("payload", _form(payload, is_object=envelope is not None))]
    reasons += [("type", f"{decided.value}, from {decided.place}" if decided else "none that is known here")]
    reasons += [("type not taken", f"{it.value[:64]}, from {it.place}") for it in others]
    reasons += [("rule", f"kind {rule.kind}, by {rule.source}")]
    if rule.kind in WITH_TEXT:
        found = reading.content(payload, envelope, types)
        raw = reading.first(members, reading.text).value
        how = ", decoded" if envelope is not None and found.value != raw else ""
        reasons.append(("text", f"from {found.place}{how}" if found.value else _nowhere(reading.text)))
    if rule.kind not in SILENT:
        name = reading.first(members, reading.sender_name)
        otherwise = "asked for at profiles.url, else the account" if asks_names else "the account"
        nowhere = f"{otherwise}, for no path names the sender"
        reasons.append(("sender", _from(name) if content.sender_name else nowhere))
        if content.group_name:
            reasons.append(("group", _from(reading.first(members, reading.group_name))))
    says = {}
    if not content.silent:
        text = vocabulary.shown(content.alert_text(sender))
        if text != content.alert_text(sender):
            reasons.append(("preview", "hides a part, by messages.preview"))
        says = {language: vocabulary.say(text, language) for language in vocabulary.languages}
    return Explanation(content, decided.value if decided else "", rule.source, content.expiry, reasons, says)


def _form(payload: bytes, *, is_object: bool) -> str:
    if not is_object:
        return f"no JSON object; {len(payload)} bytes"
    return "a JSON object" if payload.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") else "a JSON object in base64"


def _from(found: Found) -> str:
    return f"from {found.place}"


def _nowhere(paths: tuple[Path, ...]) -> str:
    return f"none; looked at {', '.join('.'.join(path) for path in paths)}"
