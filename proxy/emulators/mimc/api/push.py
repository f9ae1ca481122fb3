"""Messages that the developer's server writes: MIMC's chapter "push". The app's credentials speak for any account.

No document says that the sender of a group's message must be one of its members, so they need not be.
"""

import base64
import time
from typing import TYPE_CHECKING, Any

from proxy.emulators.mimc.asked import Asked, Call, Credentials
from proxy.emulators.mimc.orders import PAYLOAD_LIMIT
from proxy.emulators.mimc.refusals import BAD_REQUEST, Refused

if TYPE_CHECKING:
    from proxy.emulators.mimc.service import Mimc


def _to_one(mimc: "Mimc", asked: Asked) -> dict[str, Any]:
    return {"packetId": _push_to_accounts(mimc, asked, [asked.text("toAccount")])[0]}


def _to_several(mimc: "Mimc", asked: Asked) -> dict[str, Any]:
    return {"packetIds": _push_to_accounts(mimc, asked, asked.texts("toAccounts"))}


def _to_group(mimc: "Mimc", asked: Asked) -> dict[str, Any]:
    return {"packetId": _push_to_groups(mimc, asked, [asked.topic_id()])[0]}


def _to_several_groups(mimc: "Mimc", asked: Asked) -> dict[str, Any]:
    return {"packetIds": _push_to_groups(mimc, asked, asked.topic_ids())}


CALLS = (
    Call("POST", "/api/push/p2p/", Credentials.BODY, _to_one),
    Call("POST", "/api/push/p2p/more", Credentials.BODY, _to_several),
    Call("POST", "/api/push/p2t/", Credentials.BODY, _to_group),
    Call("POST", "/api/push/p2t/more", Credentials.BODY, _to_several_groups),
)


def _push_to_accounts(mimc: "Mimc", asked: Asked, accounts: list[str]) -> list[str]:
    message = _message(asked)
    app_id = asked.caller.app_id
    orders = [
        message | {"to_account": account, "offline": mimc.presence.offline(app_id, [account])} for account in accounts
    ]
    mimc.p2p_quota.take(app_id, len(orders), time.monotonic())
    return mimc.push(orders, stored=_is_stored(mimc, asked))


def _push_to_groups(mimc: "Mimc", asked: Asked, topic_ids: list[str]) -> list[str]:
    message = _message(asked)
    app_id, sender = asked.caller.app_id, asked.caller.account
    orders = []
    for topic_id in topic_ids:
        members = list(mimc.groups.members(app_id, topic_id))
        offline = mimc.presence.offline(app_id, [account for account in members if account != sender])
        orders.append(message | {"topic_id": topic_id, "members": members, "offline": offline})
    mimc.topic_quota.take(app_id, len(orders), time.monotonic())
    return mimc.push(orders, stored=_is_stored(mimc, asked))


def _message(asked: Asked) -> dict[str, Any]:
    """What the orders for all recipients have in common."""
    return {
        "app_id": asked.caller.app_id,
        "from_account": asked.caller.account,
        "from_resource": asked.optional_text("fromResource") or "",
        "payload_base64": base64.b64encode(_payload(asked)).decode(),
        "biz_type": asked.optional_text("bizType") or "",
    }


def _payload(asked: Asked) -> bytes:
    text, kind = asked.text("msg"), asked.optional_text("msgType") or ""
    if kind not in {"", "base64"}:
        raise Refused(BAD_REQUEST, 'msgType: expected "base64" or ""')
    try:
        payload = base64.b64decode(text, validate=True) if kind else text.encode()
    except ValueError:
        raise Refused(BAD_REQUEST, "msg: expected standard base64, as msgType says") from None
    if len(payload) > PAYLOAD_LIMIT:
        raise Refused(BAD_REQUEST, f"msg: expected at most {PAYLOAD_LIMIT} bytes, before base64")
    return payload


def _is_stored(mimc: "Mimc", asked: Asked) -> bool:
    return asked.flag("isStore", mimc.config.stored_by_default)
