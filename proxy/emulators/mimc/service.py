"""The emulated MIMC: who gets a token, and which callbacks a message causes."""

import hmac
import itertools
import json
import secrets
import threading
import time
from collections.abc import Sequence
from typing import Any

from flask import Response

from proxy.emulators.control import Fault, FaultBook, Journal
from proxy.emulators.mimc.accounts import compact_json, token_reply
from proxy.emulators.mimc.callbacks import CallbackBody, callbacks
from proxy.emulators.mimc.config import MimcApp, MimcConfig
from proxy.emulators.mimc.orders import BadOrder, Numbers, read_order
from proxy.emulators.webhook_sender import Attempt, Webhook, WebhookSender
from proxy.emulators.wire_faults import WIRE_EFFECTS, apply_wire_fault, take_fault

EFFECTS = WIRE_EFFECTS | {"refuse"}
_PAUSES_S = (5, 30, 300)
_URLS = ("callback_url", "instant_callback_url", "offline_callback_url")


class Mimc:
    """The emulated service: its apps, its journal, and the callbacks still to be posted."""

    def __init__(self, config: MimcConfig) -> None:
        self._config = config
        self.clock_offset_s = config.clock_offset_s
        self._apps = {app.app_id: app for app in config.apps}
        self._foreign_secret = secrets.token_urlsafe(16)  # of apps of others that chat with ours
        self._lock = threading.Lock()
        self._last_sequence = 0
        self._packets = itertools.count(1)
        self._packet_prefix = secrets.token_hex(4)
        self.journal, self.faults = Journal(), FaultBook()
        self.webhooks = WebhookSender(
            self._note_attempt,
            pauses_s=[pause * config.time_scale for pause in _PAUSES_S],
            threads=config.callback_threads,
            timeout_s=config.callback_timeout_s,
            backlog=config.callback_backlog,
            ca_file=config.callback_ca_file,
        )

    def issue_token(self, body: object, content_type: str, environ: dict[str, Any]) -> Response:
        asked = body if isinstance(body, dict) else {}
        account = asked.get("appAccount") if isinstance(asked.get("appAccount"), str) else None
        facts = {"kind": "token", "account": account, "app_id": _text(asked.get("appId"))}
        facts["connection"] = environ["emulator.connection"]
        if fault := take_fault(self.faults, environ, [account] if account else [], EFFECTS):
            facts["fault"] = fault.effect
            wrong = self._refusal(fault) if fault.effect == "refuse" else apply_wire_fault(fault, environ)
            if wrong is not None:
                self.journal.write(**facts, outcome="fault", status=wrong.status_code)
                return wrong
        app = self._apps.get(_text(asked.get("appId")) or "")
        if complaint := _complaint(asked, content_type, app):
            status = complaint[0] if self._config.refuse_with_http_status else 200
            self.journal.write(**facts, outcome="refused", status=status, code=complaint[0], reason=complaint[1])
            return envelope(status, *complaint)
        assert app is not None  # noqa: S101  without an app there is a complaint
        self.journal.write(**facts, outcome="accepted", status=200, code=200)
        return Response(token_reply(app, asked["appAccount"]), content_type="application/json;charset=UTF-8")

    def write(self, orders: Sequence[object]) -> list[dict[str, str]]:
        """Carry out all orders or none: post their callbacks, and return the ids of each message.

        Raises BadOrder, BacklogFull.
        """
        prepared = [self._prepare(order) for order in orders]
        self.webhooks.send([webhook for _, webhooks in prepared for webhook in webhooks])
        return [ids for ids, _ in prepared]

    def set_urls(self, given: object) -> None:
        """From now on post an app's callbacks there. Raises BadOrder."""
        if not isinstance(given, dict) or given.keys() - {"app_id", *_URLS}:
            raise BadOrder(f"expected an object with app_id and some of {', '.join(_URLS)}")
        app_id = _text(given.get("app_id")) or (next(iter(self._apps)) if len(self._apps) == 1 else "")
        urls = {name: given[name] for name in _URLS if name in given}
        for name, url in urls.items():
            if url is not None and not (isinstance(url, str) and url.startswith(("http://", "https://"))):
                raise BadOrder(f"{name}: expected an http or https address")
        with self._lock:
            if app_id not in self._apps:
                raise BadOrder("app_id: not configured here")
            self._apps[app_id] = self._apps[app_id].model_copy(update=urls)

    def _prepare(self, given: object) -> tuple[dict[str, str], list[Webhook]]:
        only_app = next(iter(self._apps)) if len(self._apps) == 1 else None
        order = read_order(given, only_app, self._fresh_numbers())
        app = self._apps.get(order.app_id)
        if app is None:
            raise BadOrder("app_id: not configured here")
        sender = self._apps.get(order.from_app_id)
        bodies = callbacks(order, sender.app_secret if sender else self._foreign_secret)
        ids = {"sequence": order.sequence, "packet_id": order.packet_id}
        ids |= {"topic_id": order.topic_id} if order.topic_id else {}
        return ids, [_webhook(body, app) for body in bodies for _ in range(order.copies)]

    def _fresh_numbers(self) -> Numbers:
        now_ms = time.time_ns() // 1_000_000
        with self._lock:
            self._last_sequence = max(self._last_sequence + 1, now_ms * 100_000)
            sequence = self._last_sequence
        packet_id = f"{self._packet_prefix}-{next(self._packets)}"
        return Numbers(str(sequence), packet_id, topic_id=str(sequence)[1:], timestamp_ms=now_ms)

    def _refusal(self, fault: Fault) -> Response:
        return envelope(fault.status or 200, 500 if fault.code is None else fault.code, fault.reason or "fail")

    def _note_attempt(self, attempt: Attempt) -> None:
        outcome = "accepted" if attempt.accepted else "given up" if attempt.last else "refused"
        self.journal.write(
            kind="callback",
            **attempt.webhook.facts,
            attempt=attempt.number,
            status=attempt.status,
            error=attempt.error,
            duplicate=_duplicate(attempt.answer),
            outcome=outcome,
        )


def _complaint(asked: dict[str, Any], content_type: str, app: MimcApp | None) -> tuple[int, str] | None:
    """Code and message if a token request must be refused. The codes are ours: MIMC publishes none."""
    if content_type != "application/json" or not asked:
        return 400, "expected a JSON object, sent as application/json"
    if _text(asked.get("appId")) is None:
        return 400, "appId: expected a number or a text of digits"
    for name in ("appKey", "appSecret", "appAccount"):
        if not _is_text(asked.get(name)):
            return 400, f"{name}: expected a non-empty text"
    if not isinstance(asked.get("regionKey", ""), str):
        return 400, "regionKey: expected a text"
    if app is None or not (_same(asked["appKey"], app.app_key) and _same(asked["appSecret"], app.app_secret)):
        return 401, "app authentication fail"
    return None


def _text(app_id: object) -> str | None:
    if isinstance(app_id, bool) or not isinstance(app_id, int | str):
        return None
    text = str(app_id)
    return text if text.isascii() and text.isdigit() else None


def _is_text(value: object) -> bool:
    if not isinstance(value, str):
        return False
    return bool(value) and not any("\ud800" <= character <= "\udfff" for character in value)


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())


def envelope(status: int, code: int, message: str) -> Response:
    body = compact_json({"code": code, "message": message, "data": None})
    return Response(body, status=status, content_type="application/json;charset=UTF-8")


def _webhook(body: CallbackBody, app: MimcApp) -> Webhook:
    special = app.offline_callback_url if body.kind.startswith("OFFLINE") else app.instant_callback_url
    url = special or app.callback_url
    if url is None:
        raise BadOrder("app_id: this app has no callback_url")
    order = body.order
    facts = {"msg_type": body.kind, "app_id": app.app_id, "sequence": order.sequence, "packet_id": order.packet_id}
    return Webhook(url, body.content, "application/json;charset=UTF-8", facts)


def _duplicate(answer: bytes) -> bool | None:
    try:
        body = json.loads(answer)
    except ValueError:
        return None
    value = (
        body.get("data", {}).get("duplicate") if isinstance(body, dict) and isinstance(body.get("data"), dict) else 0
    )
    return value if isinstance(value, bool) else None
