"""Xiaomi push in its own words: pushes to one request, its answer to an outcome for each.

Source: Xiaomi push server API, chapters on sending, message classes and templates (2024-10 to 2026-06).
"""

import base64
import re
import unicodedata
import zlib
from collections.abc import Hashable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from urllib.parse import quote, urlencode

from proxy.channels.common import app_data, retry_after, to_json
from proxy.channels.mipush.codes import outcome_of
from proxy.channels.mipush.receipts import ReceiptRequest
from proxy.channels.mipush.template import FALLBACK, LONGEST_VALUE, template_param
from proxy.domain.alerts import Alert, AlertText
from proxy.domain.callbacks import digest
from proxy.domain.jobs import Job, Push
from proxy.domain.kinds import Kind
from proxy.domain.outcomes import About, Accepted, Deferred, Impossible, OurFault, Outcome, Rejected, Unregistered
from proxy.domain.transfers import Request, Response
from proxy.domain.words import Vocabulary
from proxy.settings import MipushSettings, TemplateSettings
from proxy.strict_json import object_or_none
from proxy.text import cut, is_blank, utf16_units

# "fewer than 50" and "fewer than 128" characters. They do not say how they count: a Java server's own measure is the
# UTF-16 unit, which is never fewer than code points, so a text within it is short enough either way
_LONGEST_TITLE, _LONGEST_DESCRIPTION = 49, 127
_LONGEST_ADDRESS = 64
CONVERSATION = "{conversation}"  # in intent_uri and web_uri
_LONGEST_CLICK = 1024
# the older documents allow 1024 characters of extras, the newest 2048: template values give way down to 16
_EXTRAS_ROOM, _EXTRAS_MOST = 1024, 2048
_VALUE_LENGTHS = (LONGEST_VALUE, 96, 64, 48, 32, 16)
_ONE_MS = timedelta(milliseconds=1)
# JSON or gzip, spoilt on the way: the push was probably accepted, so its repeats, under the same jobkey, are rare
_LOOKS_LIKE_THEIRS = (b"{", b"\x1f\x8b")
_UNREADABLE_WAIT = timedelta(minutes=10)
_NO_TEXT = frozenset({"Cc", "Cs", "Zl", "Zp"})
_DECIMAL = re.compile(r"-?[0-9]{1,9}")


def authorization(settings: MipushSettings) -> str:
    """The header's value. The secret is the AppSecret, and the word is `key`, no other scheme."""
    return f"key={settings.app_secret.get_secret_value()}"


class MipushWire:
    """One Android app's pushes, to accounts or to regIds as configured. A `proxy.ports.Wire`."""

    batch_limit = 1000

    def __init__(self, settings: MipushSettings, vocabulary: Vocabulary | None = None, section: str = "") -> None:
        """`section` is named in what a push carries to ask for receipts."""
        self._settings = settings
        self._receipts = ReceiptRequest(settings, section)
        self._vocabulary = vocabulary or Vocabulary()
        self._by_account = settings.address == "account"
        self._target = "user_account" if self._by_account else "registration_id"
        self._url = f"{settings.base_url}/v2/message/{'user_account' if self._by_account else 'regid'}"
        self._revoke_url = f"{settings.base_url}/v3/message/{'user_account' if self._by_account else 'regid'}/revoke"
        self._fallback = settings.template.fallback if settings.template else FALLBACK
        # kept at most: private messages 10 days, others one, since 2024-09-03
        self._longest_kept = timedelta(days=10 if settings.channel_id else 1)

    def batch_key(self, job: Job) -> Hashable:
        """The alert: a request says nothing else but its targets, in words of one language (`variant`).

        A withdrawal goes alone: nothing says that one may name several targets. So does a fold: how many messages it
        tells of is known later.
        """
        return job.id if job.alert.update or job.alert.is_fold else job.alert

    def variant(self, push: Push) -> Hashable:
        """How a device is told of the alert: in its language, as much as it may show, and whether with a sound."""
        return self._said(push), push.job.alert.silent

    def refuse(self, push: Push) -> Outcome | None:
        """Keep out of a target list what would not be exactly one target of the configured kind in it."""
        if (push.device is None) != self._by_account:  # planned before the setting `address` was changed
            return Rejected("address")
        reason = _why_impossible(push.address)
        return Impossible(reason) if reason else None

    def build(self, pushes: Sequence[Push], authorization: str, now: datetime) -> Request:
        """One form POST for pushes of one batch key; `authorization` is "key=" and the AppSecret."""
        alert = pushes[0].job.alert
        headers = (
            f"authorization: {authorization}",
            "content-type: application/x-www-form-urlencoded;charset=UTF-8",
            # an empty one keeps libcurl from sending its own
            "user-agent:",
            "accept:",
            "expect:",
            "accept-encoding:",
        )
        form = {self._target: ",".join(push.address for push in pushes)}
        if alert.update:  # of what the conversation shows
            form |= {"restricted_package_name": self._settings.package, "notify_id": str(_notify_id(alert))}
            return Request(self._revoke_url, headers, urlencode(form, errors="replace").encode())
        group = _group(self._vocabulary.shown(pushes[0].text), alert.conversation)
        form |= self._message(alert, self._said(pushes[0]), group, now)
        return Request(self._url, headers, urlencode(form, errors="replace").encode())

    def read(self, pushes: Sequence[Push], answer: Response, now: datetime) -> list[Outcome]:
        """What any answer means. Errors come as HTTP 200 with a code; without one the transport has failed."""
        details = _read_object(answer.body) if answer.status == 200 else {}
        code = _code(details.get("code"))
        if code is None:
            return [_without_code(answer)] * len(pushes)
        if code == 0:
            return self._accepted(pushes, details)
        outcome = outcome_of(code, several=len(pushes) > 1, by_account=self._by_account, now=now)
        if isinstance(outcome, Deferred):
            outcome = replace(outcome, retry_after=max(outcome.retry_after, retry_after(answer.headers)))
        return [outcome] * len(pushes)

    def _accepted(self, pushes: Sequence[Push], details: dict[str, object]) -> list[Outcome]:
        data = details.get("data")
        values = data if isinstance(data, dict) else {}
        # accounts have no such list; the second spelling was seen once
        bad = set() if self._by_account else _listed(values.get("bad_regids")) | _listed(values.get("bad_regIds"))
        return [Unregistered(None) if push.address in bad else Accepted() for push in pushes]

    def _said(self, push: Push) -> AlertText:
        return self._vocabulary.say_titled(self._vocabulary.shown(push.text), push.locale)

    def _message(self, alert: Alert, text: AlertText, group: str, now: datetime) -> dict[str, str]:
        time_to_live = min(alert.expires_at - now, self._longest_kept)
        return {
            "restricted_package_name": self._settings.package,
            "title": _shown(text.group or text.title, self._fallback, _LONGEST_TITLE),
            "description": _shown(
                f"{text.title}: {text.body}" if text.group and not text.count else text.body,
                self._fallback,
                _LONGEST_DESCRIPTION,
            ),
            "pass_through": "0",
            # all, or no sound, vibration and light. The newest documents leave that to the channel
            "notify_type": "0" if alert.silent else "-1",
            "notify_id": str(_notify_id(alert)),
            "time_to_live": str(max(time_to_live // _ONE_MS, 1)),  # 0 might mean "as long as you like"
            "payload": to_json(app_data(alert)).decode(),
            **self._extras(alert, text, group, now),
        }

    def _extras(self, alert: Alert, text: AlertText, group: str, now: datetime) -> dict[str, str]:
        asked = self._receipts.extras(alert.message_id, now)
        for longest_value in _VALUE_LENGTHS:
            extras = self._extras_with(alert, text, group, longest_value)
            if _size(extras | asked) < _EXTRAS_ROOM:
                break
        return extras | asked if _size(extras | asked) < _EXTRAS_MOST else extras

    def _extras_with(self, alert: Alert, text: AlertText, group: str, longest_value: int) -> dict[str, str]:
        """Since 2024-09-30 a notification without a click action shows nothing, so `notify_effect` is always there."""
        settings = self._settings
        extras = {"extra.notify_effect": settings.notify_effect, "extra.jobkey": _jobkey(alert)}
        if settings.notify_effect == "2":
            extras["extra.intent_uri"] = _address_of(settings.intent_uri, alert)
        if settings.notify_effect == "3":
            extras["extra.web_uri"] = _address_of(settings.web_uri, alert)
        if settings.channel_id:
            extras["extra.channel_id"] = settings.channel_id
        if template := self._template(alert, text):
            extras["extra.template_id"] = template.id
            extras["extra.template_param"] = template_param(template, text, group, longest_value)
        return extras

    def _template(self, alert: Alert, text: AlertText) -> TemplateSettings | None:
        """That of its kind; where that one has none, the next."""
        settings, found = self._settings, list[TemplateSettings | None]()
        if text.kind == Kind.CALL:
            found.append(settings.call_template)
        if alert.conversation.startswith("topic:"):
            found += [settings.mention_template] if alert.mentioned else []
            found.append(settings.group_template)
        return next((template for template in found if template is not None), settings.template)


def _group(shown: AlertText, conversation: str) -> str:
    """The group's name, else its id; in a chat of two the sender. "" where no name may be shown."""
    kind, _, id_ = conversation.partition(":")
    return shown.group or (id_ if kind == "topic" and shown.title else shown.title)


def _address_of(address: str, alert: Alert) -> str:
    """Where a tap leads: `{conversation}` in it is the alert's, "p2p:<account>" or "topic:<id>", percent-encoded.

    Nothing takes its place where the whole would be longer than the setting may be: no extras have room for more.
    """
    if CONVERSATION not in address:
        return address
    whole = address.replace(CONVERSATION, quote(alert.conversation, safe="", errors="replace"))
    return whole if len(whole) <= _LONGEST_CLICK else address.replace(CONVERSATION, "")


def _size(extras: dict[str, str]) -> int:
    return sum(len(name) + sum(map(utf16_units, value)) for name, value in extras.items())


def _why_impossible(address: str) -> str:
    """Why this is no target; "" for one that is. Commas separate targets, and blanks at the ends could be trimmed.

    Controls and lone surrogates (categories Cc, Cs, Zl, Zp) survive no form field.
    """
    if not 0 < len(address) <= _LONGEST_ADDRESS:
        return "address longer than 64 characters" if address else "empty address"
    if "," in address:
        return "comma in the address"
    if address != address.strip() or any(unicodedata.category(code_point) in _NO_TEXT for code_point in address):
        return "unprintable address"
    return ""


def _shown(text: str, fallback: str, longest: int) -> str:
    seen = next((candidate for candidate in (text, fallback) if not is_blank(candidate)), FALLBACK)
    return cut(seen.strip(), longest, utf16_units)


def _notify_id(alert: Alert) -> int:
    """One line on the phone per conversation: the newest message replaces the one before."""
    return zlib.crc32(alert.conversation.encode("utf-8", "replace")) & 0x7FFF_FFFF


def _jobkey(alert: Alert) -> str:
    """Names the message in 12 of 0-9A-Za-z_-: the phone shows the first with it and drops repeats."""
    edition = (alert.edition,) if alert.is_fold else ()
    first_nine = bytes.fromhex(digest("jobkey", alert.message_id, *edition))[:9]
    jobkey = base64.urlsafe_b64encode(first_nine).decode()
    return "0" + jobkey[1:] if jobkey[0] == "_" else jobkey  # their rule: "_" may not come first


def _read_object(body: bytes) -> dict[str, object]:
    """Their JSON, which is UTF-8 and may be GBK where a gateway answers: only its prose is not ASCII."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        text = body.decode("gb18030", "replace")
    return object_or_none(text.encode("utf-8", "replace")) or {}


def _code(value: object) -> int | None:
    """A number, or the same as text."""
    if isinstance(value, str) and _DECIMAL.fullmatch(value):
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _without_code(answer: Response) -> Outcome:
    if answer.status in (401, 403):
        return OurFault(f"http {answer.status}")
    if answer.status == 200 and answer.body.startswith(_LOOKS_LIKE_THEIRS):
        return Deferred("unreadable answer", _UNREADABLE_WAIT, about=About.JOB, unanswered=True)
    reason = "no code" if answer.status == 200 else f"http {answer.status}"
    # what speaks there for Xiaomi push may have passed the call on before
    return Deferred(reason, retry_after(answer.headers), unanswered=answer.status == 200 or answer.status >= 500)


def _listed(value: object) -> set[str]:
    """The ids of a comma list."""
    return {part.strip() for part in value.split(",")} if isinstance(value, str) else set()
