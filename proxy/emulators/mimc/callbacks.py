"""The callbacks that MIMC posts about a message.

Every message makes a NORMAL_MSG or NORMAL_TOPIC_MSG. If a recipient was offline, an OFFLINE_MSG or OFFLINE_TOPIC_MSG
with the same ids follows. `offlineResources` and `offlineAccounts` are there in the new form where `offline` names
resources.
"""

import base64
from dataclasses import dataclass
from typing import Any

from proxy.emulators.mimc.accounts import authentication, compact_json
from proxy.emulators.mimc.orders import Order


@dataclass(frozen=True)
class CallbackBody:
    """One body to post; `kind` is its msgType."""

    kind: str
    order: Order
    content: bytes


def kinds(order: Order) -> list[str]:
    """The msgTypes of one message's callbacks, in MIMC's order."""
    name = "MSG" if order.topic_id is None else "TOPIC_MSG"
    return ["NORMAL_" + name] * order.instant + ["OFFLINE_" + name] * bool(order.offline)


def callbacks(order: Order, app_secret: str) -> list[CallbackBody]:
    """The callbacks of one message, in MIMC's order. `app_secret` is that of the sender's app."""
    make = _personal if order.topic_id is None else _topic
    return [CallbackBody(kind, order, make(kind, order, app_secret)) for kind in kinds(order)]


def _personal(kind: str, order: Order, app_secret: str) -> bytes:
    to_account = order.recipients[0]
    body: dict[str, Any] = {
        "msgType": kind,
        "fromAppId": _id(order, order.from_app_id),
        "fromAccount": order.from_account,
        "toAppId": _id(order, order.app_id),
        "toAccount": to_account,
        "payload": base64.b64encode(order.payload).decode(),
        "timestamp": _id(order, order.timestamp),
    }
    if order.new_form:
        body |= {"fromResource": order.from_resource, "toResource": order.to_resource, **_newer_members(order)}
        if kind == "OFFLINE_MSG" and order.offline[to_account] is not None:
            body["offlineResources"] = order.offline[to_account]
    return compact_json(body | _authentication(order, order.from_app_id, app_secret))


def _topic(kind: str, order: Order, app_secret: str) -> bytes:
    whole = kind == "NORMAL_TOPIC_MSG" or order.offline_lists_all
    body: dict[str, Any] = {
        "msgType": kind,
        "appId": _id(order, order.app_id),
        "topicId": _id(order, order.topic_id or ""),
        "fromAccount": order.from_account,
        "toAccounts": list(order.recipients if whole else order.offline),
        "payload": base64.b64encode(order.payload).decode(),
        "timestamp": _id(order, order.timestamp),
    }
    if order.new_form:
        body |= {"fromResource": order.from_resource, **_newer_members(order)}
        missed = [
            {"toAccount": account, "offlineResources": resources}
            for account, resources in order.offline.items()
            if resources is not None
        ]
        if kind == "OFFLINE_TOPIC_MSG" and missed:
            body["offlineAccounts"] = missed
    return compact_json(body | _authentication(order, order.app_id, app_secret))


def _newer_members(order: Order) -> dict[str, Any]:
    return {"packetId": order.packet_id, "sequence": _id(order, order.sequence), "bizType": order.biz_type}


def _authentication(order: Order, app_id: str, app_secret: str) -> dict[str, str]:
    if isinstance(order.authenticate, str):
        return {"authentication": order.authenticate}
    return {"authentication": authentication(app_secret, order.timestamp, app_id)} if order.authenticate else {}


def _id(order: Order, value: str) -> str | int:
    return int(value) if order.ids_as_numbers and value.isascii() and value.isdigit() else value
