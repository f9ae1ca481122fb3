"""What the emulated providers accepted, in one form for both."""

import json
import re
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

Address = tuple[str, str]  # "apns" and a device token, "regid" and a regId, "account" and a MiPush account
Journal = Iterable[Mapping[str, Any]]  # read once
# each an emulator with a journal of its own
APNS, SANDBOX, MIPUSH = PROVIDERS = ("apns", "sandbox", "mipush")

_WORD = re.compile(r"[\w-]+", re.ASCII)
_COUNT = re.compile(r"(\d+) new messages?")
_KIND_OF_TARGET = {"registration_id": "regid", "user_account": "account"}
_ANSWERED = frozenset({"status", "code"})  # effects of faults that are an answer
_KIND_OF_CALL = {"regid": "regid", "user_account": "account"}


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


class TakenBack(NamedTuple):
    """A withdrawal that a provider accepted: at APNs of an item, at MiPush of what is shown under a notify_id.

    `why` is what the push says of itself; MiPush's says nothing.
    """

    address: Address
    item: str | None
    notify_id: str | None
    why: str
    provider: str
    came_ms: int


class Told(NamedTuple):
    """A push that tells how many messages came, and shows none of them.

    `peer` is what the app opens: "p2p:<writer>" or "topic:<id>"; `sequence` that of the latest of them, where there is
    one.
    """

    push: Push  # of no word
    number: int
    peer: str
    sequence: int | None

    @property
    def address(self) -> Address:
        return self.push.address


class Accepted(NamedTuple):
    """What the providers accepted, each in the order in which it took them.

    `failed` are the times of MiPush's tries that a fault kept from the phone, by word and address: None, where it was
    not answered.
    `numbers` are the times and numbers that iPhones were told.
    `told` are those that tell of messages and show none. `wordless` counts alerts that show none of the words and take
    nothing back, `badges` pushes of a number alone.
    """

    pushes: list[Push]
    told: list[Told]
    taken_back: list[TakenBack]
    failed: Mapping[tuple[str, Address], list[int | None]]
    numbers: Mapping[Address, list[tuple[int, int]]]
    wordless: int
    badges: int


def read_accepted(journals: Mapping[str, Journal], words: Container[str]) -> Accepted:
    pushes, told, taken_back = list[Push](), list[Told](), list[TakenBack]()
    failed: dict[tuple[str, Address], list[int | None]] = defaultdict(list)
    numbers: dict[Address, list[tuple[int, int]]] = defaultdict(list)
    wordless = badges = 0
    for provider, journal in journals.items():
        items = set[tuple[str, str]]()  # of the pushes with a word
        for entry in journal:
            if not _accepted(entry):
                if entry.get("kind") == "send" and entry.get("fault"):
                    for push in _read(provider, entry, words):
                        answered_ms = entry["monotonic_ms"] if entry["fault"] in _ANSWERED else None
                        failed[push.word, push.address].append(answered_ms)
                continue
            if "device_token" in entry and (number := entry["payload"]["aps"].get("badge")) is not None:
                numbers["apns", entry["device_token"].lower()].append((entry["came_ms"], number))
            if entry.get("kind") == "revoke":
                kind = _KIND_OF_CALL[entry["path"].split("/")[3]]
                taken_back += [
                    TakenBack((kind, target), None, str(entry["notify_id"]), "", provider, entry["came_ms"])
                    for target in entry["targets"]
                ]
            elif "device_token" in entry and "alert" not in entry["payload"]["aps"]:
                if (data := entry["payload"].get("mimc", {})).get("withdrawn"):
                    taken_back.append(_taken_back(entry, data["message"], data["withdrawn"], provider))
                else:
                    badges += 1
            elif together := list(_read_told(provider, entry)):
                told += together
            elif found := list(_read(provider, entry, words)):
                pushes += found
                items.update((push.address[1], push.item) for push in found if push.item is not None)
            elif "device_token" in entry and (entry["device_token"].lower(), entry["collapse_id"]) in items:
                taken_back.append(_taken_back(entry, entry["collapse_id"], "recall", provider))
            else:
                wordless += 1
    return Accepted(pushes, told, taken_back, failed, numbers, wordless, badges)


def _taken_back(entry: Mapping[str, Any], item: str, why: str, provider: str) -> TakenBack:
    return TakenBack(("apns", entry["device_token"].lower()), item, None, why, provider, entry["came_ms"])


def _accepted(entry: Mapping[str, Any]) -> bool:
    if "device_token" in entry:
        return bool(entry["accepted"])
    return bool(entry["kind"] in ("send", "revoke") and entry["outcome"] == "accepted")


def _read_told(provider: str, entry: Mapping[str, Any]) -> Iterator[Told]:
    push, texts = _push(provider, entry)
    number = next((int(found[1]) for text in texts if (found := _COUNT.fullmatch(text))), None)
    if number is None:
        return
    payload = entry["payload"] if "device_token" in entry else json.loads(entry["payload"])
    data = payload["mimc"]
    sequence = int(data["sequence"]) if "sequence" in data else None
    for address in _addresses(entry):
        yield Told(push._replace(address=address), number, data["conversation"], sequence)


def _read(provider: str, entry: Mapping[str, Any], words: Container[str]) -> Iterator[Push]:
    push, texts = _push(provider, entry)
    shown = dict.fromkeys(word for text in texts for word in _WORD.findall(text) if word in words)
    for word in shown:
        for address in _addresses(entry):
            yield push._replace(word=word, address=address)


def _addresses(entry: Mapping[str, Any]) -> list[Address]:
    if "device_token" in entry:
        return [("apns", entry["device_token"].lower())]
    bad = set(entry.get("bad_targets", ()))
    kind = _KIND_OF_TARGET[entry["target_kind"]]
    return [(kind, target) for target in entry["targets"] if target not in bad]


def _push(provider: str, entry: Mapping[str, Any]) -> tuple[Push, list[str]]:
    """What is the same for all words and addresses, and the texts shown."""
    if "device_token" in entry:
        alert = entry["payload"]["aps"]["alert"]
        texts = [text for text in alert.values() if isinstance(text, str)] if isinstance(alert, dict) else [alert]
        item, notify_id, lost = entry["collapse_id"], None, entry["lost"]
    else:
        texts = [entry.get("shown_title", ""), entry.get("shown_description") or entry.get("description", "")]
        item, notify_id, lost = entry["jobkey"], entry["notify_id"], None
    push = Push(
        "", ("", ""), item, notify_id, entry["came_ms"], entry["monotonic_ms"], entry["number"],
        (provider, entry["connection"]), entry["peer_port"], lost, entry.get("fault"),
    )  # fmt: skip
    return push, texts
