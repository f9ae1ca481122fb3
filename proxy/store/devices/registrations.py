"""What an account's list says of a device: the key of its first push token's owner, and its record."""

from collections.abc import Iterable
from dataclasses import dataclass

from proxy.domain.devices import Device
from proxy.domain.times import to_ms
from proxy.store.keys import Layout
from proxy.store.records import device_or_none, dump_device


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
        registration_value(found[0], dump_device(device, compact=layout.is_compact)),
        tuple(found),
        to_ms(device.registered_at),
    )


def read_registration(layout: Layout, app_id: str, app: str, device_id: str, value: bytes) -> Registration:
    """Of one that this program cannot read only the first push token is known."""
    first, record = registration_parts(value)
    device = device_or_none(app, device_id, record) if record else None
    if device is None:
        return Registration(value, (first,) if first else (), None)
    names = dict.fromkeys([*([first] if first else ()), *owner_keys(layout, app_id, device)])
    return Registration(value, tuple(names), to_ms(device.registered_at))


def registration_value(first_owner_key: str, record: bytes) -> bytes:
    return f"{first_owner_key}\n".encode() + record


def registration_parts(registration: bytes) -> tuple[str, bytes]:
    """The key of the push token's owner, and the record; both empty where it is damaged."""
    owner_key, end, record = registration.partition(b"\n")
    return (owner_key.decode("utf-8", "replace"), record) if end else ("", b"")


def owner_keys(layout: Layout, app_id: str, device: Device) -> list[str]:
    """The key of the owner of each of its push tokens, in their order."""
    return [layout.push_token(app_id, device.app, it.platform, it.push_token) for it in device.addresses]


def owner_lines(keys: Iterable[str]) -> str:
    """As the owner of the first push token names those of the fallbacks."""
    return "\n".join(keys)
