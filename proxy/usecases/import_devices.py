"""Registrations as lines of JSON, on their way out of a store and into one. They hold push tokens: secrets."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO

from proxy.domain.devices import Address, Device, Platform
from proxy.domain.previews import Preview
from proxy.domain.times import MS
from proxy.errors import BadRequest, Refusal
from proxy.settings import AppSettings
from proxy.strict_json import BadJson, read_object
from proxy.usecases.register_device import check_device_id, read_registration

MOST_BYTES = 65_536  # of a line; the longest that can be right has 6 KB
_AHEAD = timedelta(minutes=1)  # of another machine's clock


@dataclass(frozen=True)
class Line:
    """One that was read. `device` None: `fault` says why, with nothing of what the line holds."""

    number: int
    device: Device | None = None
    fault: str = ""


def exported(device: Device) -> dict[str, Any]:
    """What `read_lines` reads, with the push tokens."""
    first, *others = [_address(it) for it in device.addresses]
    optional = {
        "locale": device.locale,
        "resource": device.resource,
        "preview": "" if device.preview is Preview.FULL else device.preview.value,
        "fallbacks": others,
    }
    return {
        "app": device.app,
        "account": device.account,
        "device_id": device.device_id,
        **first,
        **{name: value for name, value in optional.items() if value},
        "registered_at": device.registered_at.isoformat(timespec="milliseconds"),
    }


@dataclass(frozen=True)
class Rules:
    """How lines are read. `app`: the section of all of them, None: what each says; `account_of`: the account that a
    name is; `now`: the store's time."""

    apps: Mapping[str, AppSettings]
    app: str | None
    account_of: Callable[[object], str | None]
    now: datetime


def read_lines(file: BinaryIO, rules: Rules) -> Iterator[Line]:
    """Line by line, whatever the size of the file; empty ones are left out."""
    number = 0
    while text := file.readline(MOST_BYTES):
        number += 1
        if len(text) == MOST_BYTES and not text.endswith(b"\n"):
            while (rest := file.readline(MOST_BYTES)) and not rest.endswith(b"\n"):
                pass
            yield Line(number, fault=f"expected at most {MOST_BYTES} bytes")
        elif text.strip():
            yield _read(number, text, rules)


def _read(number: int, text: bytes, rules: Rules) -> Line:
    try:
        return Line(number, _device(read_object(text, unique=True), rules))
    except (BadJson, Refusal) as error:
        return Line(number, fault=str(error))


def _device(asked: dict[str, Any], rules: Rules) -> Device:
    named, device_id, at = (asked.pop(name, ...) for name in ("account", "device_id", "registered_at"))
    account = rules.account_of(named)
    if account is None:
        raise BadRequest("account", expected="1 to 256 bytes, without control characters", got=named)
    if not isinstance(device_id, str):
        raise BadRequest("device_id", expected="1 to 128 printable characters", got=device_id)
    check_device_id(device_id)
    if rules.app is not None:
        asked["app"] = rules.app
    return read_registration(
        asked,
        device_id=device_id,
        account=account,
        bound_app=None,
        apps=rules.apps,
        now=_registered_at(at, rules.now),
    )


def _registered_at(value: object, now: datetime) -> datetime:
    """To the millisecond, as the store has it."""
    expected = "a time with its offset, like 2026-11-23T12:00:00Z, that is not in the future"
    try:
        at = datetime.fromisoformat(value).astimezone(UTC) if isinstance(value, str) and _has_offset(value) else None
    except (ValueError, OverflowError):
        at = None
    if at is None or not _FIRST <= at <= now + _AHEAD:
        raise BadRequest("registered_at", expected=expected, got=value)
    return _FIRST + (at - _FIRST) // MS * MS


def _has_offset(text: str) -> bool:
    return datetime.fromisoformat(text).tzinfo is not None


def _address(it: Address) -> dict[str, str]:
    environment = {"environment": it.environment.value} if it.platform is Platform.APNS else {}
    return {"platform": it.platform.value, "push_token": it.push_token, **environment}


def waves(devices: Iterable[Device]) -> list[list[Device]]:
    """In their order, so that no two of one wave have an account or a push token in common."""
    found = list[list[Device]]()
    last = dict[tuple[str, ...], int]()
    for device in devices:
        names: Sequence[tuple[str, ...]] = [
            (device.app, device.account),
            *((device.app, it.platform, it.push_token) for it in device.addresses),
        ]
        wave = 1 + max(last.get(name, -1) for name in names)
        last.update(dict.fromkeys(names, wave))
        if wave == len(found):
            found.append([])
        found[wave].append(device)
    return found


_FIRST = datetime(1970, 1, 1, tzinfo=UTC)
