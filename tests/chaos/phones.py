"""What the emulated phones show at the end, and the numbers on their icons."""

import json
import re
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tests.chaos.pushes import Address

_WORD = re.compile(r"[\w-]+", re.ASCII)


class Badge(NamedTuple):
    """The number that an iPhone was told last; `ms` is when that push had come."""

    number: int
    ms: int


class Phones(NamedTuple):
    """`shown` are the words by the address under which they reached a phone.

    `elsewhere` are the iPhones that registered at both of Apple's environments: what they show is in two places here.
    """

    shown: list[tuple[str, Address]]
    badges: dict[Address, Badge]
    elsewhere: frozenset[Address]


def read_phones(phones: Mapping[str, Iterable[Mapping[str, Any]]], words: Container[str]) -> Phones:
    """By emulator what its /_emulator/phones told."""
    found = Phones([], {}, frozenset())
    seen = Counter[Address]()
    for of_one in phones.values():
        for phone in of_one:
            for alert in phone["shown"]:
                found.shown.extend((word, _address(phone, alert)) for word in _words(alert) if word in words)
            if "device_token" in phone:
                address = "apns", phone["device_token"]
                seen[address] += 1
                if phone["badge"] is not None:
                    badge = Badge(phone["badge"], phone["badge_ms"])
                    found.badges[address] = max(found.badges.get(address, badge), badge, key=lambda it: it.ms)
    return found._replace(elsewhere=frozenset(address for address, count in seen.items() if count > 1))


def write_phones(folder: Path, name: str, phones: object) -> None:
    _path(folder, name).write_text(json.dumps(phones))


def stored_phones(folder: Path, names: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
    """By emulator; none where the run was not played to its end."""
    paths = {name: _path(folder, name) for name in names}
    return {name: json.loads(path.read_text()) for name, path in paths.items() if path.exists()}


def _path(folder: Path, name: str) -> Path:
    return folder / f"phones-{name}.json"


def _address(phone: Mapping[str, Any], alert: Mapping[str, Any]) -> Address:
    if "device_token" in phone:
        return "apns", phone["device_token"]
    return ("account" if alert["target"] in phone["accounts"] else "regid"), alert["target"]


def _words(alert: Mapping[str, Any]) -> Iterator[str]:
    for name in ("title", "body", "description"):
        yield from _WORD.findall(alert.get(name, ""))
