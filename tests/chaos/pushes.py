"""What the emulated providers accepted, in one form for both."""

import re
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

Address = tuple[str, str]  # "apns" and a device token, "regid" and a regId, "account" and a MiPush account
Journal = Iterable[Mapping[str, Any]]  # read once
# each an emulator with a journal of its own
APNS, SANDBOX, MIPUSH = PROVIDERS = ("apns", "sandbox", "mipush")

_WORD = re.compile(r"[\w-]+", re.ASCII)
_KIND_OF_TARGET = {"registration_id": "regid", "user_account": "account"}


class Push(NamedTuple):
    """One word that reached one address.

    `item` is what the phone distinguishes notifications by: apns-collapse-id or jobkey. `notify_id` is MiPush's: of
    several items with the same one the phone keeps the last. `came_ms` is when the request had come, `ms` when it was
    answered, or given up; `lost` says what kept the answer from the sender, as far as the emulator knows. `connection`
    is (provider, number at it), `port` the sender's.
    """

    word: str
    address: Address
    item: str | None
    notify_id: str | None
    came_ms: int
    ms: int
    number: int
    connection: tuple[str, int]
    port: int
    lost: str | None
    fault: str | None

    @property
    def provider(self) -> str:
        return self.connection[0]


def accepted_pushes(journals: Mapping[str, Journal], words: Container[str]) -> tuple[list[Push], int]:
    """The accepted pushes in the order in which each provider took them, and how many showed none of the words."""
    pushes: list[Push] = []
    wordless = 0
    for provider, journal in journals.items():
        for entry in journal:
            found = list(_read(provider, entry, words))
            wordless += not found and _accepted(entry)
            pushes += found
    return pushes, wordless


def _accepted(entry: Mapping[str, Any]) -> bool:
    if "device_token" in entry:
        return bool(entry["accepted"])
    return bool(entry["kind"] == "send" and entry["outcome"] == "accepted")


def _read(provider: str, entry: Mapping[str, Any], words: Container[str]) -> Iterator[Push]:
    if not _accepted(entry):
        return
    if "device_token" in entry:
        addresses = [("apns", entry["device_token"].lower())]
        alert = entry["payload"]["aps"]["alert"]
        texts = [text for text in alert.values() if isinstance(text, str)] if isinstance(alert, dict) else [alert]
        item, notify_id, lost = entry["collapse_id"], None, entry["lost"]
    else:
        bad = set(entry["bad_targets"])
        kind = _KIND_OF_TARGET[entry["target_kind"]]
        addresses = [(kind, target) for target in entry["targets"] if target not in bad]
        texts = [entry["shown_title"], entry["shown_description"]]
        item, notify_id, lost = entry["jobkey"], entry["notify_id"], None
    shown = dict.fromkeys(word for text in texts for word in _WORD.findall(text) if word in words)
    for word in shown:
        for address in addresses:
            yield Push(
                word, address, item, notify_id, entry["came_ms"], entry["monotonic_ms"], entry["number"],
                (provider, entry["connection"]), entry["peer_port"], lost, entry.get("fault"),
            )  # fmt: skip
