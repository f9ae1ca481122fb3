"""What Xiaomi push takes and what it refuses, with which code. Source: its API and limits pages of 2024 to 2026.

Two rules are ours, so that a client's mistake is seen: an unknown parameter is refused, and so is one given twice,
unless it names targets.
"""

import json
import re
import time
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from proxy.emulators.mipush.config import Channel, MipushApp, Template

# Codes as published; where the pages leave the choice open, ours is the nearest by name.
ILLEGAL_REQUEST, MISSING_PARAMETER, BAD_VALUE, FORBIDDEN = 10012, 10016, 10017, 10036
BAD_TEXT, BAD_PACKAGE, BAD_CHANNEL = 10041, 22022, 27001
ACCOUNT_TOO_LONG, EXTRAS_TOO_LONG, PAYLOAD_TOO_LONG = 65017, 65015, 65009
CALLBACK_PARAM_TOO_LONG, BAD_CALLBACK = 65036, 65037

_PARAMETERS = frozenset({
    "payload", "restricted_package_name", "pass_through", "title", "description", "notify_type", "notify_id",
    "time_to_live", "time_to_send", "registration_id", "user_account",
})  # fmt: skip
_MAX_TARGETS, _MAX_ACCOUNT, _MAX_PAYLOAD_BYTES, _MAX_EXTRAS = 1000, 64, 4096, 2047
_DAY_MS = 86_400_000
_JOBKEY = re.compile(r"[0-9A-Za-z-][0-9A-Za-z_-]{0,19}")
_RECEIPT_BITS = 1 | 2 | 16 | 32 | 64 | 128 | 1024
_CONTENT_TYPE = re.compile(r"application/x-www-form-urlencoded(\s*;\s*charset=\"?utf-8\"?)?", re.IGNORECASE)
_TARGETS = frozenset({"registration_id", "user_account"})


class Refused(Exception):
    """The call is answered with this code; `reason` names a parameter, never its value."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}")
        self.code, self.reason = code, reason


@dataclass(frozen=True)
class Notification:
    """A call that keeps all rules. `target_kind` is the parameter that named the targets."""

    target_kind: str
    targets: tuple[str, ...]
    title: str
    description: str
    payload: str
    notify_id: int
    extras: Mapping[str, str]
    template: Template | None
    template_params: Mapping[str, str]

    @property
    def jobkey(self) -> str | None:
        return self.extras.get("jobkey")

    def shown_text(self) -> tuple[str, str]:
        """Title and text that a phone shows: those of the template, as far as it has any."""
        if self.template is None:
            return self.title, self.description
        title, text = (_filled(pattern, self.template_params) for pattern in (self.template.title, self.template.text))
        return title or self.title, text or self.description


def read_form(content_type: str, body: bytes) -> dict[str, str]:
    """The parameters of a call; targets in fields of their own are put together with commas. Raises Refused."""
    if not _CONTENT_TYPE.fullmatch(content_type.strip()):
        raise Refused(ILLEGAL_REQUEST, "content type: expected application/x-www-form-urlencoded;charset=UTF-8")
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, strict_parsing=True, errors="strict")
    except ValueError:
        raise Refused(ILLEGAL_REQUEST, "body: expected form-encoded UTF-8") from None
    form: dict[str, str] = {}
    for name, value in pairs:
        if name in form and name not in _TARGETS:
            raise Refused(BAD_VALUE, "a parameter was given twice")
        form[name] = f"{form[name]},{value}" if name in form else value
    return form


def read_notification(form: Mapping[str, str], app: MipushApp, target_kind: str, *, strict: bool) -> Notification:
    """Check a call; `strict` asks for a channel and a template. Raises Refused."""
    if unknown := sorted(name for name in form if name not in _PARAMETERS and not name.startswith("extra.")):
        raise Refused(BAD_VALUE, f"unknown parameters: {', '.join(unknown)}")
    if form.get("restricted_package_name") != app.package:
        raise Refused(BAD_PACKAGE, "restricted_package_name: not the package of this app")
    targets = _targets(form, target_kind)
    if form.get("pass_through", "0") != "0":
        raise Refused(FORBIDDEN, "pass_through: messages past the notification bar are switched off")
    extras = {name.removeprefix("extra."): value for name, value in form.items() if name.startswith("extra.")}
    _check_extras(extras)
    channel = _channel(extras, app, strict=strict)
    template, params = _template(extras, channel, strict=strict)
    if len(form.get("payload", "").encode()) > _MAX_PAYLOAD_BYTES:
        raise Refused(PAYLOAD_TOO_LONG, f"payload: expected at most {_MAX_PAYLOAD_BYTES} bytes")
    _number(form, "notify_type", -1, 7)
    _number(form, "time_to_live", 1, _longest_life(channel))
    now_ms = time.time_ns() // 1_000_000
    _number(form, "time_to_send", now_ms - _DAY_MS, now_ms + 7 * _DAY_MS)
    return Notification(
        target_kind=target_kind,
        targets=targets,
        title=_visible(form, "title", 50),
        description=_visible(form, "description", 128),
        payload=form.get("payload", ""),
        notify_id=_number(form, "notify_id", 0, 2**31 - 1) or 0,
        extras=extras,
        template=template,
        template_params=params,
    )


def read_revocation(form: Mapping[str, str], app: MipushApp, target_kind: str) -> tuple[tuple[str, ...], int]:
    """The targets, and the notify_id of what they are to show no longer. Raises Refused."""
    if unknown := sorted(form.keys() - {"restricted_package_name", "notify_id", target_kind}):
        raise Refused(BAD_VALUE, f"unknown parameters: {', '.join(unknown)}")
    if form.get("restricted_package_name") != app.package:
        raise Refused(BAD_PACKAGE, "restricted_package_name: not the package of this app")
    notify_id = _number(form, "notify_id", 0, 2**31 - 1)
    if notify_id is None:
        raise Refused(MISSING_PARAMETER, "notify_id: missing")
    return _targets(form, target_kind), notify_id


def _targets(form: Mapping[str, str], kind: str) -> tuple[str, ...]:
    others = _TARGETS & form.keys() - {kind}
    if others:
        raise Refused(BAD_VALUE, f"{', '.join(others)}: not a parameter of this call")
    if not form.get(kind):
        raise Refused(MISSING_PARAMETER, f"{kind}: missing")
    targets = form[kind].split(",")
    if len(targets) > _MAX_TARGETS:
        raise Refused(BAD_VALUE, f"{kind}: expected at most {_MAX_TARGETS}")
    if any(not target.strip() for target in targets):
        raise Refused(BAD_VALUE, f"{kind}: one of them is empty")
    if kind == "user_account" and any(len(target) > _MAX_ACCOUNT for target in targets):
        raise Refused(ACCOUNT_TOO_LONG, f"{kind}: expected at most {_MAX_ACCOUNT} characters")
    return tuple(dict.fromkeys(targets))


def _visible(form: Mapping[str, str], name: str, below: int) -> str:
    value = form.get(name, "")
    if not value.strip():
        raise Refused(BAD_TEXT, f"{name}: missing or blank")
    if len(value) >= below:
        raise Refused(BAD_TEXT, f"{name}: expected fewer than {below} characters")
    return value


def _number(form: Mapping[str, str], name: str, low: int, high: int) -> int | None:
    if name not in form:
        return None
    if not re.fullmatch(r"-?[0-9]{1,18}", form[name]) or not low <= int(form[name]) <= high:
        raise Refused(BAD_VALUE, f"{name}: expected a whole number from {low} to {high}")
    return int(form[name])


def _check_extras(extras: Mapping[str, str]) -> None:
    if sum(len(name) + len(value) for name, value in extras.items()) > _MAX_EXTRAS:
        raise Refused(EXTRAS_TOO_LONG, f"extra: expected at most {_MAX_EXTRAS} characters in all")
    effect = extras.get("notify_effect")
    if effect is None:
        raise Refused(MISSING_PARAMETER, "extra.notify_effect: missing")
    if effect not in ("1", "2", "3"):
        raise Refused(BAD_VALUE, "extra.notify_effect: expected 1, 2 or 3")
    if effect == "2" and not extras.get("intent_uri", "").startswith("intent:"):
        raise Refused(BAD_VALUE, "extra.intent_uri: expected with notify_effect 2")
    if effect == "3" and not _is_address(extras.get("web_uri", "")):
        raise Refused(BAD_VALUE, "extra.web_uri: expected with notify_effect 3")
    if "jobkey" in extras and not _JOBKEY.fullmatch(extras["jobkey"]):
        raise Refused(BAD_VALUE, "extra.jobkey: expected 1 to 20 of 0-9 A-Z a-z _ -, the first no _")
    _check_receipt(extras)


def _check_receipt(extras: Mapping[str, str]) -> None:
    if "callback" in extras and not _is_address(extras["callback"]):
        raise Refused(BAD_CALLBACK, "extra.callback: expected an http or https address")
    if len(extras.get("callback.param", "").encode()) > 64:
        raise Refused(CALLBACK_PARAM_TOO_LONG, "extra.callback.param: expected at most 64 bytes")
    kinds = _number(extras, "callback.type", 1, 2**31 - 1)
    if kinds is not None and kinds & ~_RECEIPT_BITS:
        raise Refused(BAD_VALUE, "extra.callback.type: expected a sum of 1, 2, 16, 32, 64, 128 and 1024")


def _channel(extras: Mapping[str, str], app: MipushApp, *, strict: bool) -> Channel | None:
    if "channel_id" not in extras and not strict:
        return None
    for channel in app.channels:
        if channel.channel_id == extras.get("channel_id"):
            return channel
    raise Refused(BAD_CHANNEL, "extra.channel_id: not a channel of this app")


def _template(
    extras: Mapping[str, str], channel: Channel | None, *, strict: bool
) -> tuple[Template | None, dict[str, str]]:
    if "template_id" not in extras and not strict:
        return None, {}
    for template in channel.templates if channel else ():
        if template.template_id == extras.get("template_id"):
            return template, _template_params(extras, template)
    raise Refused(BAD_CHANNEL, "extra.template_id: not a template bound to this channel")


def _template_params(extras: Mapping[str, str], template: Template) -> dict[str, str]:
    try:
        given = json.loads(extras.get("template_param", "{}"))
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict):
        raise Refused(BAD_VALUE, "extra.template_param: expected the text of a JSON object")
    if given.keys() != set(template.parameters):
        raise Refused(BAD_VALUE, "extra.template_param: expected exactly the template's parameters")
    for name, value in given.items():
        if fault := next(_value_faults(value), None):
            raise Refused(BAD_VALUE, f"extra.template_param: {name}: {fault}")
    return given


def _value_faults(value: object) -> Iterator[str]:
    if not isinstance(value, str):
        yield "expected a text"
    elif not 1 <= len(value) <= 128:
        yield "expected 1 to 128 characters"
    elif not value.strip():
        yield "only blanks"
    elif {unicodedata.category(character) for character in value} & {"So", "Cn", "Cs"}:
        yield "an emoji, another symbol of category So, or an unassigned code point"


def _longest_life(channel: Channel | None) -> int:
    return (10 if channel and channel.kind == "private" else 1) * _DAY_MS


def _is_address(text: str) -> bool:
    try:
        address = urlsplit(text)
    except ValueError:
        return False
    return address.scheme in ("http", "https") and bool(address.netloc)


def _filled(pattern: str, params: Mapping[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda match: params.get(match[1], match[0]), pattern)
