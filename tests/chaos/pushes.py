"""What the emulated providers accepted, in one form for both."""

import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

Address = tuple[str, str]  # "apns" and a device token, "regid" and a regId, "account" and a MiPush account
Journal = Iterable[Mapping[str, Any]]  # read once

_WORD = re.compile(r"[\w-]+", re.ASCII)
_KIND_OF_TARGET = {"registration_id": "regid", "user_account": "account"}


class Push(NamedTuple):
    """One word that reached one address.

    `item` is what the phone tells notifications apart by: apns-collapse-id or jobkey. `line` is MiPush's notify_id: of
    several items with the same one the phone keeps the last. `came_ms` is when the request had come, `ms` when it was
    answered, or given up; `lost` says what kept the answer from the sender, as far as the emulator knows. `connection`
    is (place of the journal, number in it), `port` the sender's.
    """

    word: str
    address: Address
    item: str | None
    line: str | None
    came_ms: int
    ms: int
    number: int
    connection: tuple[int, int]
    port: int
    lost: str | None
    fault: str | None


def accepted_pushes(journals: Sequence[Journal], words: Container[str]) -> tuple[list[Push], int]:
    """The accepted pushes in the order in which each provider took them, and how many showed none of the words."""
    pushes: list[Push] = []
    wordless = 0
    for place, journal in enumerate(journals):
        for entry in journal:
            found = list(_read(place, entry, words))
            wordless += not found and _accepted(entry)
            pushes += found
    return pushes, wordless


def _accepted(entry: Mapping[str, Any]) -> bool:
    if "device_token" in entry:
        return bool(entry["accepted"])
    return bool(entry["kind"] == "send" and entry["outcome"] == "accepted")


def _read(place: int, entry: Mapping[str, Any], words: Container[str]) -> Iterator[Push]:
    if not _accepted(entry):
        return
    if "device_token" in entry:
        addresses = [("apns", entry["device_token"].lower())]
        alert = entry["payload"]["aps"]["alert"]
        texts = [text for text in alert.values() if isinstance(text, str)] if isinstance(alert, dict) else [alert]
        item, line, lost = entry["collapse_id"], None, entry["lost"]
    else:
        bad = set(entry["bad_targets"])
        kind = _KIND_OF_TARGET[entry["target_kind"]]
        addresses = [(kind, target) for target in entry["targets"] if target not in bad]
        texts = [entry["shown_title"], entry["shown_description"]]
        item, line, lost = entry["jobkey"], entry["notify_id"], None
    shown = dict.fromkeys(word for text in texts for word in _WORD.findall(text) if word in words)
    for word in shown:
        for address in addresses:
            yield Push(
                word, address, item, line, entry["came_ms"], entry["monotonic_ms"], entry["number"],
                (place, entry["connection"]), entry["peer_port"], lost, entry.get("fault"),
            )  # fmt: skip
