"""The emulated MIMC: who gets a token, and which callbacks a message causes."""

import itertools
import json
import secrets
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from flask import Response

from proxy.emulators.control import Fault, FaultBook, Journal
from proxy.emulators.mimc.accounts import compact_json, token_reply
from proxy.emulators.mimc.blacklist import Blacklist
from proxy.emulators.mimc.callbacks import CallbackBody, callbacks, kinds
from proxy.emulators.mimc.config import MimcApp, MimcConfig
from proxy.emulators.mimc.contacts import Contacts
from proxy.emulators.mimc.credentials import Tokens, app_id_text, is_same, is_text
from proxy.emulators.mimc.groups import Groups
from proxy.emulators.mimc.history import History
from proxy.emulators.mimc.orders import BadOrder, Numbers, Order, read_order
from proxy.emulators.mimc.payloads import inner_of
from proxy.emulators.mimc.presence import Presence
from proxy.emulators.mimc.quotas import Quota
from proxy.emulators.mimc.refusals import FULL, Refused
from proxy.emulators.mimc.unlimited import UnlimitedGroups
from proxy.emulators.webhook_sender import Attempt, BacklogFull, Webhook, WebhookSender
from proxy.emulators.wire_faults import WIRE_EFFECTS, apply_wire_fault, take_fault

EFFECTS = WIRE_EFFECTS | {"refuse"}
_PAUSES_S = (5, 30, 300)
_RESOURCE = "emulated"  # where an account is signed in of which only that is said
_URLS = ("callback_url", "instant_callback_url", "offline_callback_url")


class Mimc:
    """The emulated service: its apps, its journal, what its API knows, and the callbacks still to be posted."""

    def __init__(self, config: MimcConfig) -> None:
        self.config = config
        self.clock_offset_s = config.clock_offset_s
        self.apps = {app.app_id: app for app in config.apps}
        self._foreign_secret = secrets.token_urlsafe(16)  # of apps of others that chat with ours
        self._lock = threading.Lock()
        self._last_sequence = 0
        self._packets = itertools.count(1)
        self._packet_prefix = secrets.token_hex(4)
        self.journal, self.faults = Journal(), FaultBook()
        self.tokens = Tokens(config.max_tokens)
        self.presence = Presence()
        self.groups = Groups(config.max_topics, config.topic_members)
        self.unlimited = UnlimitedGroups(config.max_topics)
        self.history = History(config.max_messages)
        self._written = deque[Order](maxlen=100)
        self.contacts, self.blacklist = Contacts(), Blacklist()
        self.p2p_quota, self.topic_quota = Quota(config.p2p_per_second), Quota(config.topic_per_second)
        self.uctopic_quota = Quota(config.uctopic_per_second)
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
        facts = {"kind": "token", "account": account, "app_id": app_id_text(asked.get("appId"))}
        facts["connection"] = environ["emulator.connection"]
        if (wrong := self.meet_fault(facts, environ, account)) is not None:
            return wrong
        app = self.apps.get(app_id_text(asked.get("appId")) or "")
        if complaint := _complaint(asked, content_type, app):
            status = self.status_of(complaint[0])
            self.journal.write(**facts, outcome="refused", status=status, code=complaint[0], reason=complaint[1])
            return envelope(status, *complaint)
        assert app is not None  # noqa: S101  without an app there is a complaint
        self.journal.write(**facts, outcome="accepted", status=200, code=200)
        token = self.tokens.issue(app.app_id, asked["appAccount"])
        return Response(token_reply(app, asked["appAccount"], token), content_type="application/json;charset=UTF-8")

    def meet_fault(self, facts: dict[str, Any], environ: dict[str, Any], account: str | None) -> Response | None:
        """The answer under the fault ordered for this call; None if the call is to be carried out.

        What hits it is noted in `facts`, and in the journal where there is an answer.
        """
        fault = take_fault(self.faults, environ, [account] if account else [], EFFECTS)
        if fault is None:
            return None
        facts["fault"] = fault.effect
        wrong = _refusal(fault) if fault.effect == "refuse" else apply_wire_fault(fault, environ)
        if wrong is not None:
            self.journal.write(**facts, outcome="fault", status=wrong.status_code)
        return wrong

    def status_of(self, code: int) -> int:
        """The HTTP status of a refusal."""
        return code if self.config.refuse_with_http_status else 200

    def write(self, orders: Sequence[object]) -> list[dict[str, str]]:
        """Carry out all orders or none: post their callbacks, and return the ids of each message.

        Raises BadOrder, BacklogFull.
        """
        read = [self._read(order) for order in orders]
        if any(_url(kind, self.apps[order.app_id]) is None for order in read for kind in kinds(order)):
            raise BadOrder("app_id: this app has no callback_url")
        self._carry_out(read, stored=True)
        return [_ids(order) for order in read]

    def push(self, orders: Sequence[Mapping[str, Any]], stored: bool) -> list[str]:
        """Carry out what the API asks for, in an app without a callback_url too; the messages' packet ids.

        Raises Refused.
        """
        try:
            read = [self._read(order) for order in orders]
            self._carry_out(read, stored)
        except (BadOrder, BacklogFull):
            raise Refused(FULL, "push message fail: too many callbacks are pending") from None
        return [order.packet_id for order in read]

    def written(self) -> list[dict[str, Any]]:
        """The newest messages, oldest first: who wrote what to whom."""
        return [_written(order) for order in list(self._written)]

    def set_urls(self, given: object) -> None:
        """From now on post an app's callbacks there. Raises BadOrder."""
        if not isinstance(given, dict) or given.keys() - {"app_id", *_URLS}:
            raise BadOrder(f"expected an object with app_id and some of {', '.join(_URLS)}")
        app_id = self._named_app(given)
        urls = {name: given[name] for name in _URLS if name in given}
        for name, url in urls.items():
            if url is not None and not (isinstance(url, str) and url.startswith(("http://", "https://"))):
                raise BadOrder(f"{name}: expected an http or https address")
        with self._lock:
            self.apps[app_id] = self.apps[app_id].model_copy(update=urls)

    def sign_in(self, given: object) -> None:
        """From now on these accounts of an app are signed in, and no others. Raises BadOrder."""
        if not isinstance(given, dict) or given.keys() - {"app_id", "accounts"}:
            raise BadOrder("expected an object with app_id and accounts")
        accounts = given.get("accounts")
        if isinstance(accounts, list):
            accounts = {account: [_RESOURCE] for account in accounts} if all(map(is_text, accounts)) else None
        if not isinstance(accounts, dict) or not all(map(_are_resources, accounts.values())):
            raise BadOrder("accounts: expected a list of accounts, or {account: [resources]}")
        self.presence.put(self._named_app(given), accounts)

    def join(self, topic_id: str, given: object) -> int:
        """Let accounts join an unlimited group; how many members it has then. Raises BadOrder, Refused."""
        if not isinstance(given, dict) or given.keys() - {"app_id", "accounts"}:
            raise BadOrder("expected an object with app_id and accounts")
        accounts = given.get("accounts")
        if not isinstance(accounts, list) or not all(map(is_text, accounts)):
            raise BadOrder("accounts: expected a list of non-empty texts")
        return self.unlimited.join(self._named_app(given), topic_id, accounts)

    def _named_app(self, given: Mapping[str, Any]) -> str:
        app_id = app_id_text(given.get("app_id")) or (next(iter(self.apps)) if len(self.apps) == 1 else "")
        if app_id not in self.apps:
            raise BadOrder("app_id: not configured here")
        return app_id

    def _read(self, given: object) -> Order:
        only_app = next(iter(self.apps)) if len(self.apps) == 1 else None
        order = read_order(given, only_app, self.fresh_numbers())
        if order.app_id not in self.apps:
            raise BadOrder("app_id: not configured here")
        return order

    def _carry_out(self, orders: Sequence[Order], stored: bool) -> None:
        delivered = [order for order in orders if not self._is_blocked(order)]
        webhooks = [webhook for order in delivered for webhook in self._webhooks(order)]
        self.history.keep(delivered if stored else (), after=lambda: self.webhooks.send(webhooks))
        self._written.extend(orders)

    def _is_blocked(self, order: Order) -> bool:
        if order.topic_id is not None or order.from_app_id != order.app_id:
            return False
        blocked = self.blacklist.holds(order.app_id, order.recipients[0], order.from_account)
        if blocked:
            self.journal.write(kind="blocked", app_id=order.app_id, sequence=order.sequence, packet_id=order.packet_id)
        return blocked

    def _webhooks(self, order: Order) -> list[Webhook]:
        app, sender = self.apps[order.app_id], self.apps.get(order.from_app_id)
        bodies = callbacks(order, sender.app_secret if sender else self._foreign_secret)
        posts = [(url, body) for body in bodies if (url := _url(body.kind, app)) is not None]
        return [_webhook(url, body, app) for url, body in posts for _ in range(order.copies)]

    def fresh_numbers(self) -> Numbers:
        now_ms = time.time_ns() // 1_000_000
        with self._lock:
            self._last_sequence = max(self._last_sequence + 1, now_ms * 100_000)
            sequence = self._last_sequence
        packet_id = f"{self._packet_prefix}-{next(self._packets)}"
        return Numbers(str(sequence), packet_id, topic_id=str(sequence)[1:], timestamp_ms=now_ms)

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
    if app_id_text(asked.get("appId")) is None:
        return 400, "appId: expected a number or a text of digits"
    for name in ("appKey", "appSecret", "appAccount"):
        if not is_text(asked.get(name)):
            return 400, f"{name}: expected a non-empty text"
    if not isinstance(asked.get("regionKey", ""), str):
        return 400, "regionKey: expected a text"
    if app is None or not (is_same(asked["appKey"], app.app_key) and is_same(asked["appSecret"], app.app_secret)):
        return 401, "app authentication fail"
    return None


def _refusal(fault: Fault) -> Response:
    return envelope(fault.status or 200, 500 if fault.code is None else fault.code, fault.reason or "fail")


def envelope(status: int, code: int, message: str) -> Response:
    body = compact_json({"code": code, "message": message, "data": None})
    return Response(body, status=status, content_type="application/json;charset=UTF-8")


def _are_resources(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(resource, str) for resource in value)


def _ids(order: Order) -> dict[str, str]:
    ids = {"sequence": order.sequence, "packet_id": order.packet_id}
    return ids | ({"topic_id": order.topic_id} if order.topic_id else {})


def _written(order: Order) -> dict[str, Any]:
    where = {"topic_id": order.topic_id} if order.topic_id else {}
    facts = {"app_id": order.app_id, "from_account": order.from_account, "recipients": list(order.recipients), **where}
    return {"sequence": order.sequence, "packet_id": order.packet_id, **facts, **inner_of(order.payload)}


def _url(kind: str, app: MimcApp) -> str | None:
    special = app.offline_callback_url if kind.startswith("OFFLINE") else app.instant_callback_url
    return special or app.callback_url


def _webhook(url: str, body: CallbackBody, app: MimcApp) -> Webhook:
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
