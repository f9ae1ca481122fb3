"""What an account's list says of a device: its first push token's owner, and its record.

    "<key of the owner>\n<record>"                     in a store that an earlier program may read
    01, digest of the push token (16), platform, "\n", record   in a compact one, 63 bytes less

Both are read everywhere. The second says nothing of where the owner's key lies, which the layout knows.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from proxy.domain.devices import Device
from proxy.domain.times import to_ms
from proxy.store.keys import Layout
from proxy.store.records import device_or_none, dump_device

_SHORT, _PLATFORM = b"\x01", 17


@dataclass(frozen=True)
class Registration:
    """One as it lies in the store. `owner_keys`: of its push tokens, in their order; `at_ms`: when it was made, None:
    that cannot be read."""

    value: bytes
    owner_keys: tuple[str, ...]
    at_ms: int | None


def registration_of(layout: Layout, app_id: str, device: Device) -> Registration:
    found = owner_keys(layout, app_id, device)
    return Registration(
        registration_value(layout, found[0], dump_device(device, compact=layout.is_compact)),
        tuple(found),
        to_ms(device.registered_at),
    )


def read_registration(layout: Layout, app_id: str, app: str, device_id: str, value: bytes) -> Registration:
    """Of one that this program cannot read only the first push token is known."""
    first, record = registration_parts(layout, app_id, app, value)
    device = device_or_none(app, device_id, record) if record else None
    if device is None:
        return Registration(value, (first,) if first else (), None)
    names = dict.fromkeys([*([first] if first else ()), *owner_keys(layout, app_id, device)])
    return Registration(value, tuple(names), to_ms(device.registered_at))


def registration_value(layout: Layout, first_owner_key: str, record: bytes) -> bytes:
    if not layout.is_compact:
        return f"{first_owner_key}\n".encode() + record
    platform, token_digest = first_owner_key.rsplit(":", 2)[1:]
    return _SHORT + bytes.fromhex(token_digest) + platform.encode() + b"\n" + record


def registration_parts(layout: Layout, app_id: str, app: str, registration: bytes) -> tuple[str, bytes]:
    """The key of the push token's owner, and the record; both empty where it is damaged."""
    first, record = _parts(registration)
    if first[:1] != _SHORT:
        return first.decode("utf-8", "replace"), record
    platform = first[_PLATFORM:].decode("utf-8", "replace")
    return layout.push_token_of(app_id, app, platform, first[1:_PLATFORM].hex()), record


def record_in(registration: bytes) -> bytes:
    """Empty where it is damaged."""
    return _parts(registration)[1]


def _parts(registration: bytes) -> tuple[bytes, bytes]:
    """The digest may hold any byte."""
    end = registration.find(b"\n", _PLATFORM if registration[:1] == _SHORT else 0)
    return (registration[:end], registration[end + 1 :]) if end >= 0 else (b"", b"")


def owner_keys(layout: Layout, app_id: str, device: Device) -> list[str]:
    """The key of the owner of each of its push tokens, in their order."""
    return [layout.push_token(app_id, device.app, it.platform, it.push_token) for it in device.addresses]


def owner_lines(keys: Iterable[str]) -> str:
    """As the owner of the first push token names those of the fallbacks."""
    return "\n".join(keys)
