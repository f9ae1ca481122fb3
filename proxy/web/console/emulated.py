"""The emulators of this machine, through their control routes: what they saw, and what is ordered of them.

Nothing is ordered of the service: bob writes at the emulated MIMC, and a fault is one of the emulated APNs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import requests

from proxy.errors import BadRequest, NotFound
from proxy.settings.console import EmulatorSettings
from proxy.web.envelope import HttpRefusal

_NEWEST = 12  # entries of each journal, and messages
_TIMEOUT_S = 5.0
_MEMBERS = ("alice", "bob", "carol", "dora")
_GROUP = "21351198708203520"

# What a switch orders of the emulated APNs. A delay is under `relay.silence_min_s`, or the push would be sent again.
FAULTS: Mapping[str, Mapping[str, Any]] = {
    "down": {"effect": "closed"},
    "gone": {"effect": "answer", "status": 410, "reason": "Unregistered"},
    "slow": {"effect": "delay", "delay_ms": 1500},
    "wrong_key": {"effect": "answer", "status": 403, "reason": "InvalidProviderToken"},
}
READERS = {"alice": ["alice"], "group": list(_MEMBERS)}


class EmulatorsAway(HttpRefusal):
    """An emulator does not answer, or refuses what was asked."""

    def __init__(self, message: str) -> None:
        super().__init__(503, message)


@dataclass(frozen=True)
class Seen:
    """What the emulators told, as they told it."""

    messages: list[dict[str, Any]]
    iphones: list[dict[str, Any]]
    xiaomis: list[dict[str, Any]]
    others: list[dict[str, Any]]
    journals: Mapping[str, list[dict[str, Any]]]  # by "mimc", "apns", "mipush" and "http"
    fault: str  # of FAULTS; empty: none of them is in force


class Emulators:
    """Safe to share between threads. Everything raises EmulatorsAway."""

    def __init__(self, addresses: EmulatorSettings) -> None:
        self._addresses = addresses

    def look(self) -> Seen:
        with _session() as http:
            journals = {
                name: self._ask(http, "GET", name, f"journal?newest={_NEWEST}")["entries"]
                for name in ("mimc", "apns", "mipush", "http")
            }
            return Seen(
                self._ask(http, "GET", "mimc", "messages")["messages"],
                self._ask(http, "GET", "apns", "phones")["phones"],
                self._ask(http, "GET", "mipush", "phones")["phones"],
                self._ask(http, "GET", "http", "phones")["phones"],
                journals,
                _known(self._ask(http, "GET", "apns", "faults")["faults"]),
            )

    def write(self, text: str, to: str) -> None:
        """bob writes to alice, or into the group, whose members are all offline. Raises BadRequest."""
        if to not in READERS:
            raise BadRequest("to", expected=" or ".join(READERS), got=to)
        if not text.strip():
            raise BadRequest("text", expected="a text", got=text)
        where = {"to_account": to} if to == "alice" else {"topic_id": _GROUP, "members": list(_MEMBERS)}
        self._order({"from_account": "bob", "text": text, **where})

    def recall(self, sequence: str) -> None:
        """By its writer. Raises NotFound."""
        message = self._message(sequence)
        self._follow_up(message, message["from_account"], "TEXT_RECALL")

    def read(self, sequence: str, account: str) -> None:
        """On another device of this reader. Raises NotFound."""
        message = self._message(sequence)
        if account not in message["recipients"]:
            raise NotFound("this message was not for them")
        self._follow_up(message, account, "TEXT_READ")

    def switch(self, fault: str, *, on: bool) -> None:
        """This fault and no other, or none. Raises BadRequest."""
        if fault not in FAULTS:
            raise BadRequest("fault", expected=" or ".join(FAULTS), got=fault)
        with _session() as http:
            self._ask(http, "PUT", "apns", "faults", [FAULTS[fault]] if on else [])

    def _follow_up(self, message: Mapping[str, Any], by: str, kind: str) -> None:
        """Apps say so in a message of their own, which names the first one by its id; no reader is offline for it."""
        order = {"from_account": by, "inner_type": kind, "text": message["message_id"], "offline": []}
        if "topic_id" in message:
            order |= {"topic_id": message["topic_id"], "members": message["recipients"]}
        else:
            (reader,) = message["recipients"]
            order["to_account"] = reader if by == message["from_account"] else message["from_account"]
        self._order(order)

    def _message(self, sequence: str) -> dict[str, Any]:
        with _session() as http:
            found: list[dict[str, Any]] = self._ask(http, "GET", "mimc", "messages")["messages"]
        message = next((it for it in found if it["sequence"] == sequence), None)
        if message is None or not message["message_id"]:
            raise NotFound("there is no such message")
        return message

    def _order(self, order: Mapping[str, Any]) -> None:
        with _session() as http:
            self._ask(http, "POST", "mimc", "messages", order)

    def _ask(self, http: requests.Session, method: str, emulator: str, what: str, body: object = None) -> Any:
        url = f"{getattr(self._addresses, emulator)}/_emulator/{what}"
        try:
            answer = http.request(method, url, json=body, timeout=_TIMEOUT_S)
            if answer.ok:
                return answer.json()
        except requests.RequestException as error:
            raise EmulatorsAway(f"the emulated {emulator} does not answer: {type(error).__name__}") from error
        raise EmulatorsAway(f"the emulated {emulator} answered {answer.status_code}")


def _session() -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    return session


def _known(faults: list[dict[str, Any]]) -> str:
    for name, order in FAULTS.items():
        if any(order.items() <= fault.items() for fault in faults):
            return name
    return ""
