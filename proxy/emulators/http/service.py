"""The emulated sender: what it takes, what it refuses, and which phones it calls gone."""

import threading
import time
from typing import Any

from flask import Response, jsonify
from werkzeug.datastructures import Headers

from proxy.emulators.control import Fault, FaultBook, Journal
from proxy.emulators.http.config import SenderConfig, key_of
from proxy.emulators.http.rules import Refused, check_signature, read_event, read_question
from proxy.emulators.wire_faults import WIRE_EFFECTS, apply_wire_fault, take_fault

EFFECTS = WIRE_EFFECTS | {"gone", "status"}


class Sender:
    """The service: its keys, its faults, its journal."""

    def __init__(self, config: SenderConfig) -> None:
        self.journal, self.faults = Journal(), FaultBook()
        self._keys = tuple(map(key_of, config.secrets))
        self._tolerance_s = config.tolerance_s
        self._lock = threading.Lock()
        self._accepted: set[str] = set()

    def take(self, environ: dict[str, Any], headers: Headers, body: bytes) -> Response:
        facts: dict[str, Any] = {
            "path": environ["PATH_INFO"],
            "connection": environ["emulator.connection"],
            "webhook_id": headers.get("webhook-id"),
            "webhook_timestamp": headers.get("webhook-timestamp"),
            "webhook_signature": headers.get("webhook-signature"),
            "content": body.decode("utf-8", "replace"),
        }
        try:
            check_signature(headers, body, self._keys, time.time(), self._tolerance_s)
            event = read_event(headers.get("Content-Type", ""), body)
        except Refused as refused:
            self.journal.write(**facts, outcome="refused", status=refused.status, reason=refused.reason)
            return _answer(refused.status, refused.reason)
        data = event["data"]
        device = data.get("device", {})
        facts |= {"type": event["type"], **data, "device_id": device.get("id"), "push_token": device.get("push_token")}
        facts.pop("device", None)
        if wrong := self._fault(facts, environ):
            return wrong
        with self._lock:
            again = facts["webhook_id"] in self._accepted
            self._accepted.add(facts["webhook_id"])
        self.journal.write(**facts, outcome="repeated" if again else "accepted", status=200)
        return _answer(200)

    def tell(self, environ: dict[str, Any], headers: Headers, body: bytes) -> Response:
        """Names made of the ids: "alice" is "Alice", and a group "Group" with its last four digits."""
        facts: dict[str, Any] = {"path": environ["PATH_INFO"], "type": "names"}
        try:
            check_signature(headers, body, self._keys, time.time(), self._tolerance_s)
            question = read_question(headers.get("Content-Type", ""), body)
        except Refused as refused:
            self.journal.write(**facts, outcome="refused", status=refused.status, reason=refused.reason)
            return _answer(refused.status, refused.reason)
        facts |= question
        if wrong := self._fault(facts, environ):
            return wrong
        self.journal.write(**facts, outcome="told", status=200)
        group = {"group_name": f"Group {question['group'][-4:]}"} if "group" in question else {}
        return jsonify({"name": question["account"].capitalize(), **group})

    def _fault(self, facts: dict[str, Any], environ: dict[str, Any]) -> Response | None:
        targets = {str(facts[name]) for name in ("account", "push_token", "path") if facts.get(name)}
        fault = take_fault(self.faults, environ, targets, EFFECTS)
        if fault is None:
            return None
        facts["fault"] = fault.effect
        wrong = _ordered(fault) or apply_wire_fault(fault, environ)
        if wrong is not None:
            self.journal.write(**facts, outcome="fault", status=wrong.status_code)
        return wrong


def _ordered(fault: Fault) -> Response | None:
    match fault.effect:
        case "gone":
            answer = _answer(fault.status or 410, "unregistered")
        case "status":
            answer = _answer(fault.status or 503, fault.reason or "ordered")
        case _:
            return None
    if fault.retry_after is not None:
        answer.headers["Retry-After"] = fault.retry_after
    return answer


def _answer(status: int, reason: str = "") -> Response:
    answer = jsonify({"reason": reason} if reason else {})
    answer.status_code = status
    return answer
