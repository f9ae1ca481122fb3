"""Read what a signed-in user says about a device of theirs."""

import re
from collections.abc import Mapping
from datetime import datetime

from proxy.domain.devices import FALLBACKS_MOST, Address, ApnsEnvironment, Device, Platform
from proxy.domain.previews import Preview
from proxy.errors import BadRequest, NotAllowed, NotFound, NotPossible
from proxy.settings import ApnsSettings, AppSettings

_MEMBERS = {"app", "platform", "push_token", "environment", "locale", "resource", "preview", "fallbacks"}
_OF_ADDRESS = {"platform", "push_token", "environment"}
_REG_ID = re.compile(r"[\x21-\x2b\x2d-\x7e]{1,64}")  # several are joined by commas; longer ones the channel refuses
_HEX = re.compile(r"(?:[0-9a-fA-F]{2}){8,200}")  # Apple promises no length
_ANY_TEXT = re.compile(r"[\x21-\x7e]{1,1024}")  # the developer's sender gives it a meaning
PUSH_TOKENS: Mapping[Platform, tuple[re.Pattern[str], str]] = {
    Platform.APNS: (_HEX, "the device token, 16 to 400 hex digits, an even number"),
    Platform.MIPUSH: (_REG_ID, "the regId, at most 64 characters, no comma or blank"),
    Platform.HTTP: (_ANY_TEXT, "1 to 1024 printable ASCII characters without a blank"),
}
_PLATFORMS = " or ".join(f'"{platform}"' for platform in Platform)
_LOCALE = re.compile(r"[A-Za-z0-9_-]{0,35}")


def read_registration(
    asked: Mapping[str, object],
    *,
    device_id: str,
    account: str,
    bound_app: str | None,
    apps: Mapping[str, AppSettings],
    now: datetime,
) -> Device:
    """A Device from the client's JSON object.

    Members: "platform", "push_token", and optional "app" (the section), "environment" (APNs: "production" or, unless
    the section has it off, "sandbox"), "locale", "resource", "preview" ("full", "sender" or "none"), and "fallbacks":
    up to three further addresses, each an object of "platform", "push_token" and "environment". Raises BadRequest
    naming the first member of another shape, NotFound (a section that is not configured), NotAllowed (another than the
    session's) and NotPossible (the section cannot reach such a device).
    """
    if asked.keys() - _MEMBERS:
        raise BadRequest("body", expected=f"no members but {', '.join(sorted(_MEMBERS))}", got=dict(asked))
    section = choose_section(asked.get("app"), bound_app, apps)
    first = _address(asked, apps[section])
    return Device(
        app=section,
        account=account,
        device_id=device_id,
        platform=first.platform,
        push_token=first.push_token,
        registered_at=now,
        environment=first.environment,
        locale=_text(asked, "locale", _LOCALE, "a language tag of at most 35 characters"),
        resource=_resource(asked.get("resource")),
        preview=_preview(asked.get("preview")),
        fallbacks=_fallbacks(asked.get("fallbacks"), first, apps[section]),
    )


def choose_section(named: object, bound_app: str | None, apps: Mapping[str, AppSettings]) -> str:
    """The section that is named, else the session's, else the only one."""
    if named is None:
        if bound_app is not None:
            return bound_app
        if len(apps) == 1:
            return next(iter(apps))
        raise BadRequest("app", expected="the name of one of the configured apps", got=...)
    if not isinstance(named, str):
        raise BadRequest("app", expected="a string", got=named)
    if named not in apps:
        raise NotFound("app: is not configured here")
    if bound_app is not None and named != bound_app:
        raise NotAllowed("app: is not the app of this session")
    return named


def check_device_id(device_id: str) -> None:
    """1 to 128 printable characters; U+FFFD replaces bytes that were not UTF-8."""
    if not 1 <= len(device_id) <= 128 or not device_id.isprintable() or "\ufffd" in device_id:
        raise BadRequest("device_id", expected="1 to 128 printable characters", got=device_id)


def _address(asked: Mapping[str, object], app: AppSettings, place: str = "") -> Address:
    """`place` goes before the names of its members in an error."""
    platform = _platform(asked.get("platform", ...), place)
    _require_channel(app, platform, place)
    push_token = _push_token(asked.get("push_token", ...), platform, place)
    apns = app.apns if platform is Platform.APNS else None
    return Address(platform, push_token, _environment(asked.get("environment"), apns, place))


def _fallbacks(value: object, first: Address, app: AppSettings) -> tuple[Address, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > FALLBACKS_MOST:
        raise BadRequest("fallbacks", expected=f"a list of at most {FALLBACKS_MOST} objects", got=value)
    addresses = [first]
    for index, asked in enumerate(value):
        place = f"fallbacks[{index}]"
        if not isinstance(asked, dict) or asked.keys() - _OF_ADDRESS:
            raise BadRequest(place, expected=f"an object of {', '.join(sorted(_OF_ADDRESS))}", got=asked)
        address = _address(asked, app, f"{place}.")
        if any((it.platform, it.push_token) == (address.platform, address.push_token) for it in addresses):
            raise BadRequest(f"{place}.push_token", expected="another one than those before it", got=address.push_token)
        addresses.append(address)
    return tuple(addresses[1:])


def _platform(value: object, place: str) -> Platform:
    try:
        return Platform(value)  # type: ignore[arg-type]  # whatever is not one of its values is a ValueError
    except ValueError:
        raise BadRequest(f"{place}platform", expected=_PLATFORMS, got=value) from None


def _require_channel(app: AppSettings, platform: Platform, place: str) -> None:
    section = app.channels.get(platform)
    if section is None:
        raise NotPossible(f"{place}platform: the app has no {platform} section in this service's settings")
    if section.by_account:
        raise NotPossible(
            f"{place}platform: this app's {platform} devices are addressed by account; none registers here"
        )


def _push_token(value: object, platform: Platform, place: str) -> str:
    shape, expected = PUSH_TOKENS[platform]
    if not isinstance(value, str) or not shape.fullmatch(value):
        raise BadRequest(f"{place}push_token", expected=expected, got=value)
    return value.lower() if platform is Platform.APNS else value


def _environment(value: object, apns: ApnsSettings | None, place: str) -> ApnsEnvironment:
    """`apns` None: the device is not of APNs."""
    if value is None:
        return ApnsEnvironment.PRODUCTION
    if apns is None:
        raise BadRequest(f"{place}environment", expected='nothing, it is for "apns" only', got=value)
    try:
        environment = ApnsEnvironment(value)  # type: ignore[arg-type]  # as above
    except ValueError:
        raise BadRequest(f"{place}environment", expected='"production" or "sandbox"', got=value) from None
    if environment is ApnsEnvironment.SANDBOX and not apns.sandbox:
        raise BadRequest(f"{place}environment", expected='"production", for the sandbox is off in this app', got=value)
    return environment


def _text(asked: Mapping[str, object], field: str, shape: re.Pattern[str], expected: str) -> str:
    value = asked.get(field)
    if value is None:
        return ""
    if not isinstance(value, str) or not shape.fullmatch(value):
        raise BadRequest(field, expected=expected, got=value)
    return value


def _preview(value: object) -> Preview:
    if value is None:
        return Preview.FULL
    try:
        return Preview(value)  # type: ignore[arg-type]  # as above
    except ValueError:
        raise BadRequest("preview", expected='"full", "sender" or "none"', got=value) from None


def _resource(value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > 128 or not value.isprintable():
        raise BadRequest("resource", expected="at most 128 printable characters", got=value)
    return value
