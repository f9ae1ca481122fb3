"""Emulated phones: which targets they answer to, what they show, and what the service hears of it.

A phone shows only the first message with a given jobkey, and of those with one notify_id only the last.
"""

import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from proxy.emulators.mipush.rules import Notification

PhoneState = Literal["on", "disabled", "away"]


@dataclass
class Phone:
    """One app on one phone. `shown` holds what is in the notification bar, oldest first; `rings` counts.

    `state`: "on"; "disabled", its user switched the app's notifications off; "away", so long that what is sent to it
    ends its life before it comes back.
    """

    name: str
    package: str
    regid: str
    accounts: tuple[str, ...]
    state: PhoneState = "on"
    shown: dict[int, dict[str, Any]] = field(default_factory=dict)
    dropped: list[dict[str, Any]] = field(default_factory=list)
    jobkeys: set[str] = field(default_factory=set)
    rings: int = 0

    def addresses(self) -> list[tuple[str, str, str]]:
        """Package, kind of target and target, for each way to reach this phone."""
        accounts = [(self.package, "user_account", account) for account in self.accounts]
        return [(self.package, "registration_id", self.regid), *accounts]

    def receive(self, notification: Notification, message_id: str, target: str) -> bool:
        """Whether the phone shows it: not if an earlier one had the same jobkey. `target` is what it was reached by."""
        jobkey = notification.jobkey
        if jobkey is not None and jobkey in self.jobkeys:
            self.dropped.append({"message_id": message_id, "jobkey": jobkey})
            return False
        if jobkey is not None:
            self.jobkeys.add(jobkey)
        title, text = notification.shown_text()
        self.shown.pop(notification.notify_id, None)  # so that it comes last again
        self.shown[notification.notify_id] = {
            "notify_id": notification.notify_id,
            "title": title,
            "description": text,
            "payload": notification.payload,
            "message_id": message_id,
            "jobkey": jobkey,
            "target": target,
            "came_ms": time.monotonic_ns() // 1_000_000,
        }
        self.rings += 1
        return True

    def describe(self) -> dict[str, Any]:
        return {
            "phone": self.name, "package": self.package, "regid": self.regid, "accounts": list(self.accounts),
            "state": self.state, "shown": list(self.shown.values()), "dropped": list(self.dropped), "rings": self.rings,
        }  # fmt: skip


class Phones:
    """All phones, found by registration id or account. Safe to use from several threads."""

    def __init__(self) -> None:
        self._phones: dict[tuple[str, str], Phone] = {}
        self._by_target: dict[tuple[str, str, str], dict[str, Phone]] = {}
        self._lock = threading.Lock()

    def put(self, phones: Iterable[Phone]) -> None:
        """Add phones; one of a known name keeps what it shows, its regid and accounts are the new ones."""
        with self._lock:
            for phone in phones:
                known = self._phones.setdefault((phone.package, phone.name), phone)
                self._unlist(known)
                known.regid, known.accounts, known.state = phone.regid, phone.accounts, phone.state
                for address in known.addresses():
                    self._by_target.setdefault(address, {})[known.name] = known

    def remove(self, name: str | None = None) -> None:
        """Forget one phone, or all."""
        with self._lock:
            for key in [key for key in self._phones if name in (None, key[1])]:
                self._unlist(self._phones.pop(key))

    def known(self, package: str, kind: str, targets: Sequence[str]) -> list[str]:
        """Those targets that some phone answers to."""
        with self._lock:
            return [target for target in targets if (package, kind, target) in self._by_target]

    def deliver(self, package: str, notification: Notification, targets: Sequence[str], message_id: str) -> list[str]:
        """The names of the phones that show it."""
        with self._lock:
            reached = {
                name: (phone, target)
                for target in targets
                for name, phone in self._by_target.get((package, notification.target_kind, target), {}).items()
                if phone.state == "on"
            }
            return [
                name for name, (phone, target) in reached.items() if phone.receive(notification, message_id, target)
            ]

    def by_state(self, package: str, kind: str, targets: Sequence[str]) -> dict[PhoneState, list[str]]:
        """These targets, by the state of their phones: one that has several is as well as the best of them."""
        found: dict[PhoneState, list[str]] = {"on": [], "disabled": [], "away": []}
        with self._lock:
            for target in targets:
                states = {phone.state for phone in self._by_target.get((package, kind, target), {}).values()}
                best = next((state for state in found if state in states), None)
                if best is not None:
                    found[best].append(target)
        return found

    def click(self, name: str) -> list[dict[str, Any]]:
        """The user of this phone taps all that it shows: what it was, which is gone from there now."""
        with self._lock:
            tapped = [one for phone in self._phones.values() if phone.name == name for one in phone.shown.values()]
            for phone in self._phones.values():
                if phone.name == name:
                    phone.shown = {}
        return tapped

    def revoke(self, package: str, kind: str, targets: Sequence[str], notify_id: int) -> list[str]:
        """The names of the phones that showed it until now."""
        with self._lock:
            addresses = [(package, kind, target) for target in targets]
            reached = {name: phone for at in addresses for name, phone in self._by_target.get(at, {}).items()}
            return [name for name, phone in reached.items() if phone.shown.pop(notify_id, None) is not None]

    def describe(self) -> list[dict[str, Any]]:
        with self._lock:
            return [phone.describe() for phone in self._phones.values()]

    def _unlist(self, phone: Phone) -> None:
        for address in phone.addresses():
            found = self._by_target.get(address, {})
            found.pop(phone.name, None)
            if not found:
                self._by_target.pop(address, None)


def parse_phones(given: object, packages: Sequence[str]) -> list[Phone]:
    """Read the body of POST /_emulator/devices. Raises ValueError."""
    return [_parse_phone(one, packages) for one in (given if isinstance(given, list) else [given])]


def _parse_phone(given: object, packages: Sequence[str]) -> Phone:
    if not isinstance(given, dict):
        raise ValueError("a phone is a JSON object")
    if unknown := sorted(given.keys() - {"phone", "package", "regid", "accounts", "state"}):
        raise ValueError(f"unknown members: {', '.join(unknown)}")
    name, accounts = given.get("phone"), given.get("accounts", [])
    if not isinstance(name, str) or not name:
        raise ValueError("phone: expected a name")
    if not isinstance(accounts, list) or any(not isinstance(account, str) or not account for account in accounts):
        raise ValueError("accounts: expected a list of non-empty texts")
    regid = given.get("regid", f"regid-of-{name}")
    if not isinstance(regid, str) or not regid or "," in regid:
        raise ValueError("regid: expected a text without a comma")
    package = given.get("package", packages[0] if len(packages) == 1 else "")
    if package not in packages:
        raise ValueError(f"package: expected one of {', '.join(packages)}")
    state = given.get("state", "on")
    if state not in get_args(PhoneState):
        raise ValueError(f"state: expected one of {', '.join(get_args(PhoneState))}")
    return Phone(name, package, regid, tuple(accounts), state)
