"""The emulated Xiaomi push: who may send to which phones, and the answers."""

import hmac
import json
import secrets
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from flask import Response
from werkzeug.datastructures import Headers

from proxy.emulators.control import Fault, FaultBook, Journal
from proxy.emulators.mipush.config import MipushApp, MipushConfig, UnknownTargets
from proxy.emulators.mipush.phones import Phone, Phones
from proxy.emulators.mipush.rules import Notification, Refused, read_form, read_notification, read_revocation
from proxy.emulators.webhook_sender import Attempt, BacklogFull, Webhook, WebhookSender
from proxy.emulators.wire_faults import WIRE_EFFECTS, apply_wire_fault, take_fault

EFFECTS = WIRE_EFFECTS | {"code", "status", "not_json"}
_DELIVERED, _CLICKED, _INVALID_TARGET, _DISABLED, _OVER_QUOTA, _EXPIRED = 1, 2, 16, 32, 128, 1024
_CLICKABLE = 10_000  # messages whose receipts may still be asked for
_WEB_PAGE = "<html><body><h1>Bad gateway</h1></body></html>"


class Mipush:
    """The emulated service: its apps, its phones, its journal."""

    def __init__(self, config: MipushConfig) -> None:
        self._config = config
        self.packages = [app.package for app in config.apps]
        self.unknown_targets: UnknownTargets = config.unknown_targets
        self.journal, self.faults, self.phones = Journal(), FaultBook(), Phones()
        self._lock = threading.Lock()
        self._delivering = threading.Lock()  # the journal's order is the phones'
        self._acknowledged = 0
        self.day_quota = 1_000_000
        self._sent: dict[str, Notification] = {}  # the latest by message id, for clicks
        self._quota_asked: dict[str, float] = {}
        self.webhooks = WebhookSender(
            self._note_receipt,
            pauses_s=(),
            threads=1,
            timeout_s=config.receipt_timeout_s,
            backlog=10_000,
            ca_file=config.receipt_ca_file,
        )

    def send(self, kind: str, environ: dict[str, Any], headers: Headers, body: bytes) -> Response:
        facts: dict[str, Any] = {"kind": "send", **_whence(environ)}
        try:
            form = read_form(headers.get("Content-Type", ""), body)
        except Refused as refused:
            return self._refuse(facts, refused)
        facts |= _what(kind, form)
        if wrong := self._fault(facts, environ, facts["targets"]):
            return wrong
        try:
            app = self._authorized(headers)
            notification = read_notification(form, app, kind, strict=self._config.require_template)
            known, bad = self._sort_targets(app.package, notification)
            known, over = self._within_quota(known)
        except Refused as refused:
            return self._refuse(facts, refused)
        message_id = f"Xcm{secrets.token_hex(10)}"
        title, text = notification.shown_text()
        with self._delivering:
            self._keep(message_id, notification)
            shown_on = self.phones.deliver(app.package, notification, known, message_id)
            self.journal.write(
                **facts, outcome="accepted", status=200, code=0, message_id=message_id, bad_targets=bad,
                template_params=dict(notification.template_params), shown_title=title, shown_description=text,
                shown_on=shown_on,
            )  # fmt: skip
        self._post_receipts(app.package, notification, message_id, known, bad, over)
        return self._accepted(kind, message_id, known, bad)

    def click(self, phone: str) -> int:
        """The user of this phone taps all that it shows; how many that were."""
        tapped = self.phones.click(phone)
        for shown in tapped:
            if sent := self._sent.get(shown["message_id"]):
                self._post_receipt(sent, shown["message_id"], _CLICKED, [shown["target"]])
        return len(tapped)

    def revoke(self, kind: str, environ: dict[str, Any], headers: Headers, body: bytes) -> Response:
        facts: dict[str, Any] = {"kind": "revoke", **_whence(environ)}
        try:
            form = read_form(headers.get("Content-Type", ""), body)
            targets, notify_id = read_revocation(form, app := self._authorized(headers), kind)
        except Refused as refused:
            return self._refuse(facts, refused)
        facts |= {"targets": targets, "notify_id": notify_id}
        if wrong := self._fault(facts, environ, targets):
            return wrong
        with self._delivering:
            gone_from = self.phones.revoke(app.package, kind, targets, notify_id)
            self.journal.write(**facts, outcome="accepted", status=200, code=0, gone_from=gone_from)
        return _answer({"result": "ok", "trace_id": _trace_id(), "code": 0, "description": "成功", "data": {}})

    def quota(self, environ: dict[str, Any], headers: Headers) -> Response:
        facts: dict[str, Any] = {"kind": "quota", **_whence(environ)}
        if wrong := self._fault(facts, environ, []):
            return wrong
        try:
            app = self._authorized(headers)
            with self._lock:
                last, now = self._quota_asked.get(app.package), time.monotonic()
                if last is not None and now - last < self._config.quota_interval_s:
                    raise Refused(10027, "calls too frequent")
                self._quota_asked[app.package] = now
        except Refused as refused:
            return self._refuse(facts, refused)
        self.journal.write(**facts, outcome="accepted", status=200, code=0)
        return _answer({"result": "ok", "trace_id": _trace_id(), "code": 0, "data": self._allowance()})

    def _fault(self, facts: dict[str, Any], environ: dict[str, Any], targets: Sequence[str]) -> Response | None:
        fault = take_fault(self.faults, environ, {*targets, facts["path"]}, EFFECTS)
        if fault is None:
            return None
        facts["fault"] = fault.effect
        wrong = _business_fault(fault) or apply_wire_fault(fault, environ)
        if wrong is not None:
            self.journal.write(**facts, outcome="fault", status=wrong.status_code, code=fault.code)
        return wrong

    def _authorized(self, headers: Headers) -> MipushApp:
        given = headers.get("Authorization", "").encode()
        for app in self._config.apps:
            if hmac.compare_digest(given, f"key={app.app_secret}".encode()):
                return app
        raise Refused(21301, "Invalid application secret.")

    def _sort_targets(self, package: str, notification: Notification) -> tuple[list[str], list[str]]:
        """The targets that phones answer to, and the others. Raises Refused if that ends the call."""
        kind, targets = notification.target_kind, notification.targets
        known = self.phones.known(package, kind, targets)
        bad = [target for target in targets if target not in set(known)] if len(known) < len(targets) else []
        if bad and self.unknown_targets == "accept":
            self.phones.put(_phone_for(package, kind, target) for target in bad)
            return list(targets), []
        refuses_all = kind == "user_account" and self.unknown_targets == "refuse"
        if not known or (bad and refuses_all):
            raise Refused(20301, "No valid targets!")
        return known, bad

    def _keep(self, message_id: str, notification: Notification) -> None:
        self._sent[message_id] = notification
        if len(self._sent) > _CLICKABLE:
            del self._sent[next(iter(self._sent))]

    def _within_quota(self, known: list[str]) -> tuple[list[str], list[str]]:
        """What today's allowance covers of them, which is counted, and the others. Raises Refused once it is spent."""
        with self._lock:
            room = max(self.day_quota - self._acknowledged, 0)
            if known and not room:
                raise Refused(200001, f"quota {self.day_quota}, delivered {self._acknowledged}")
            self._acknowledged += len(known[:room])
        return known[:room], known[room:]

    def _accepted(self, kind: str, message_id: str, known: list[str], bad: list[str]) -> Response:
        data = {"id": message_id, **self._allowance()}
        if bad and kind == "registration_id":
            data["bad_regids"] = ",".join(bad)
        name = "REGID" if kind == "registration_id" else "USER_ACCOUNT"
        info = f"Received push messages for {len(known)} {name}"
        return _answer(
            {"result": "ok", "trace_id": message_id, "code": 0, "description": "成功", "info": info, "data": data}
        )

    def _refuse(self, facts: dict[str, Any], refused: Refused) -> Response:
        self.journal.write(**facts, outcome="refused", status=200, code=refused.code, reason=refused.reason)
        return failure(refused.code, refused.reason)

    def _allowance(self) -> dict[str, str]:
        return {"day_quota": str(self.day_quota), "day_acked": str(self._acknowledged)}

    def _post_receipts(
        self,
        package: str,
        notification: Notification,
        message_id: str,
        known: list[str],
        bad: list[str],
        over: list[str],
    ) -> None:
        states = self.phones.by_state(package, notification.target_kind, known)
        by_kind = {
            _DELIVERED: states["on"], _INVALID_TARGET: bad, _DISABLED: states["disabled"], _OVER_QUOTA: over,
            _EXPIRED: states["away"],
        }  # fmt: skip
        for kind, targets in by_kind.items():
            if targets:
                self._post_receipt(notification, message_id, kind, targets)

    def _post_receipt(self, notification: Notification, message_id: str, kind: int, targets: list[str]) -> None:
        """Nothing where the call asked for none of that kind."""
        url = notification.extras.get("callback")
        if url is None or not int(notification.extras.get("callback.type", "3")) & kind:
            return
        receipt = _receipt(notification, kind, targets)
        if kind == _OVER_QUOTA:
            receipt["extra"] = {"quota": str(self.day_quota), "ack": str(self._acknowledged)}
        content = urlencode({"data": json.dumps({message_id: receipt}, ensure_ascii=False)}).encode()
        facts = {"message_id": message_id, "type": kind, "targets": targets}
        webhook = Webhook(url, content, "application/x-www-form-urlencoded;charset=UTF-8", facts)
        try:
            self.webhooks.send([webhook])
        except BacklogFull:
            self.journal.write(kind="receipt", **facts, outcome="given up", status=None, error="BacklogFull")

    def _note_receipt(self, attempt: Attempt) -> None:
        outcome = "accepted" if attempt.accepted else "given up"
        facts = attempt.webhook.facts
        self.journal.write(kind="receipt", **facts, outcome=outcome, status=attempt.status, error=attempt.error)


def _business_fault(fault: Fault) -> Response | None:
    answer = _business_answer(fault)
    if answer is not None and fault.retry_after is not None:
        answer.headers["Retry-After"] = fault.retry_after
    return answer


def _business_answer(fault: Fault) -> Response | None:
    match fault.effect:
        case "code":
            answer = failure(10001 if fault.code is None else fault.code, fault.reason or "ordered")
            answer.status_code = fault.status or 200
            return answer
        case "status":
            return Response(_WEB_PAGE, status=fault.status or 503, content_type="text/html")
        case "not_json":
            return Response(_WEB_PAGE, status=200, content_type="text/html")
    return None


def _whence(environ: dict[str, Any]) -> dict[str, Any]:
    return {
        "path": environ["PATH_INFO"],
        "connection": environ["emulator.connection"],
        "peer_port": int(environ["REMOTE_PORT"]),
        "came_ms": time.monotonic_ns() // 1_000_000,
    }


def _what(kind: str, form: Mapping[str, str]) -> dict[str, Any]:
    """What the journal keeps of a call; the callback's address holds a secret."""
    extras = {name.removeprefix("extra."): value for name, value in form.items() if name.startswith("extra.")}
    return {
        "target_kind": kind,
        "targets": form.get(kind, "").split(","),
        "package": form.get("restricted_package_name"),
        "title": form.get("title"),
        "description": form.get("description"),
        "payload": form.get("payload"),
        "notify_type": form.get("notify_type"),
        "notify_id": form.get("notify_id"),
        "time_to_live": form.get("time_to_live"),
        "jobkey": extras.get("jobkey"),
        "extras": {name: "***" if name == "callback" else value for name, value in extras.items()},
    }


def _phone_for(package: str, kind: str, target: str) -> Phone:
    if kind == "registration_id":
        return Phone(f"phone {target}", package, target, ())
    return Phone(f"phone of {target}", package, f"regid-of-{target}", (target,))


def _receipt(notification: Notification, kind: int, targets: list[str]) -> dict[str, Any]:
    receipt: dict[str, Any] = {"type": kind, "targets": ",".join(targets), "timestamp": time.time_ns() // 1_000_000}
    if "callback.param" in notification.extras:
        receipt["param"] = notification.extras["callback.param"]
    return receipt | ({"jobkey": notification.jobkey} if notification.jobkey else {})


def failure(code: int, reason: str) -> Response:
    facts = {"result": "error", "reason": reason, "trace_id": _trace_id(), "code": code, "description": reason}
    return _answer(facts)


def _answer(facts: Mapping[str, Any]) -> Response:
    body = json.dumps(facts, ensure_ascii=False, separators=(",", ":"))
    return Response(body, content_type="application/json;charset=UTF-8")


def _trace_id() -> str:
    return f"Xdm{secrets.token_hex(10)}"
