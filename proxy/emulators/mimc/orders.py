"""Orders to write a message.

An order is what POST /_emulator/messages takes:

    from_account, to_account            or for a group: topic_id? and members [accounts]
    text or payload_base64              the text goes inside as `inner` says, see payloads.py; payload_base64 goes as is
    inner, inner_type                   "type" and "TEXT" by default
    offline                             [accounts], or {account: [resources that missed it]}; else all but the sender
    form                                "new" (default) or "old": without the members that came after 2018
    ids                                 "text" (default) or "number": how ids and the timestamp are written
    app_id, from_app_id, to_app_id      default: the only app; from and to differ in a chat across apps
    authentication                      true, false or a text to send as it is; by default as the form has it
    sequence, packet_id, timestamp, biz_type, from_resource, to_resource
    offline_to_accounts                 "offline" (default) or "all": whom OFFLINE_TOPIC_MSG lists; MIMC's texts differ
    instant                             whether NORMAL_MSG or NORMAL_TOPIC_MSG is posted (true); if not, with the ids
                                        of an earlier message, further recipients are reported to have missed it
    copies                              how often each callback is posted though none was refused (1)
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from proxy.emulators.mimc.payloads import INNER_FORMS, wrap_text

PAYLOAD_LIMIT = 15_360
_Kinds = tuple[type, ...]
_MEMBERS: Mapping[str, _Kinds] = {
    "from_account": (str,), "to_account": (str,), "topic_id": (str, int), "members": (list,), "text": (str,),
    "payload_base64": (str,), "inner": (str,), "inner_type": (str,), "offline": (list, dict), "form": (str,),
    "ids": (str,), "app_id": (str, int), "from_app_id": (str, int), "to_app_id": (str, int),
    "authentication": (bool, str), "sequence": (str, int), "packet_id": (str,), "timestamp": (str, int),
    "biz_type": (str,), "from_resource": (str,), "to_resource": (str,), "offline_to_accounts": (str,),
    "copies": (int,), "instant": (bool,),
}  # fmt: skip


class BadOrder(ValueError):
    """An order that cannot be carried out; says which member is wrong."""


@dataclass(frozen=True)
class Numbers:
    """The ids that MIMC gives a message."""

    sequence: str
    packet_id: str
    topic_id: str
    timestamp_ms: int


@dataclass(frozen=True)
class Order:
    """One message to write, all defaults filled in. `topic_id` is None for a message to one account."""

    app_id: str  # the recipients' app: its URL is called
    from_app_id: str
    from_account: str
    topic_id: str | None
    recipients: tuple[str, ...]
    offline: Mapping[str, tuple[str, ...] | None]
    payload: bytes
    biz_type: str
    new_form: bool
    ids_as_numbers: bool
    authenticate: bool | str
    sequence: str
    packet_id: str
    timestamp: str
    from_resource: str
    to_resource: str
    offline_lists_all: bool
    instant: bool
    copies: int


def read_order(given: object, only_app: str | None, fresh: Numbers) -> Order:
    """Fill in an order. `fresh` holds the ids to use where it names none. Raises BadOrder."""
    order = _checked(given)
    app_id = order.get("to_app_id") or order.get("app_id") or only_app
    if app_id is None:
        raise BadOrder("app_id: expected, for there are several apps")
    recipients = _recipients(order)
    sender = _need(order, "from_account")
    timestamp = str(order.get("timestamp", fresh.timestamp_ms))
    packet_id = order.get("packet_id", fresh.packet_id)
    new_form = _choice(order, "form", ("new", "old")) == "new"
    payload, biz_type = _payload(order, packet_id, timestamp)
    return Order(
        app_id=str(app_id),
        from_app_id=str(order.get("from_app_id") or order.get("app_id") or app_id),
        from_account=sender,
        topic_id=str(order.get("topic_id", fresh.topic_id)) if "members" in order else None,
        recipients=recipients,
        offline=_offline(order, [account for account in recipients if account != sender], recipients),
        payload=payload,
        biz_type=order.get("biz_type", biz_type),
        new_form=new_form,
        ids_as_numbers=_choice(order, "ids", ("text", "number")) == "number",
        authenticate=order.get("authentication", new_form),
        sequence=str(order.get("sequence", fresh.sequence)),
        packet_id=packet_id,
        timestamp=timestamp,
        from_resource=order.get("from_resource", "emulated"),
        to_resource=order.get("to_resource", ""),
        offline_lists_all=_choice(order, "offline_to_accounts", ("offline", "all")) == "all",
        instant=order.get("instant", True),
        copies=order.get("copies", 1),
    )


def _checked(given: object) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise BadOrder("a message order is a JSON object")
    if unknown := sorted(given.keys() - _MEMBERS.keys()):
        raise BadOrder(f"unknown members: {', '.join(unknown)}")
    order = {name: value for name, value in given.items() if value is not None}
    for name, value in order.items():
        kinds = _MEMBERS[name]
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            expected = " or ".join(kind.__name__ for kind in kinds)
            raise BadOrder(f"{name}: expected {expected}, got {type(value).__name__}")
    if not 1 <= order.get("copies", 1) <= 100:
        raise BadOrder("copies: expected 1 to 100")
    return order


def _need(order: Mapping[str, Any], member: str) -> str:
    if not order.get(member):
        raise BadOrder(f"{member}: expected a non-empty text")
    return str(order[member])


def _choice(order: Mapping[str, Any], member: str, choices: tuple[str, ...]) -> str:
    """The member's value; the first choice is the default."""
    value = str(order.get(member, choices[0]))
    if value not in choices:
        raise BadOrder(f"{member}: expected one of {', '.join(choices)}")
    return value


def _recipients(order: Mapping[str, Any]) -> tuple[str, ...]:
    if "to_account" in order:
        if order.keys() & {"members", "topic_id"}:
            raise BadOrder("to_account: a message goes to an account or to a topic, not to both")
        return (_need(order, "to_account"),)
    members = _accounts(order.get("members"), "members")
    if not members:
        raise BadOrder("to_account or members: expected, a message needs a recipient")
    return members


def _accounts(value: object, member: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or any(not isinstance(account, str) or not account for account in value):
        raise BadOrder(f"{member}: expected a list of non-empty texts")
    return tuple(dict.fromkeys(value))


def _offline(
    order: Mapping[str, Any], default: list[str], recipients: tuple[str, ...]
) -> dict[str, tuple[str, ...] | None]:
    given = order.get("offline", default)
    if isinstance(given, dict):
        offline: dict[str, tuple[str, ...] | None] = {
            account: _accounts(resources, f"offline.{account}") for account, resources in given.items()
        }
    else:
        offline = dict.fromkeys(_accounts(given, "offline"))
    if strangers := sorted(offline.keys() - set(recipients)):
        raise BadOrder(f"offline: not among the recipients: {', '.join(strangers)}")
    return offline


def _payload(order: Mapping[str, Any], packet_id: str, timestamp: str) -> tuple[bytes, str]:
    """The payload's bytes, and the bizType that goes with them."""
    if ("text" in order) == ("payload_base64" in order):
        raise BadOrder("text or payload_base64: expected one of them")
    if "text" in order:
        form = _choice(order, "inner", INNER_FORMS)
        payload, biz_type = wrap_text(form, order["text"], order.get("inner_type"), packet_id, timestamp)
    else:
        try:
            payload, biz_type = base64.b64decode(order["payload_base64"], validate=True), ""
        except ValueError:  # binascii.Error, or what is no ASCII at all
            raise BadOrder("payload_base64: expected standard base64") from None
    if len(payload) > PAYLOAD_LIMIT:
        raise BadOrder(f"payload: expected at most {PAYLOAD_LIMIT} bytes, got {len(payload)}")
    return payload, biz_type
