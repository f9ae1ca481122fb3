"""Contact list, blacklist and presence: MIMC's chapters 13, 14 and 06, and what small public apps show of them."""

import time
from typing import TYPE_CHECKING, Any

from proxy.emulators.mimc.accounts import mimc_user_id
from proxy.emulators.mimc.asked import Asked, Call, Credentials
from proxy.emulators.mimc.history import Conversation, Kept, between, of_topic
from proxy.emulators.mimc.refusals import BAD_REQUEST, NOT_FOUND, Refused

if TYPE_CHECKING:
    from proxy.emulators.mimc.service import Mimc

_MONTH_MS = 30 * 86_400_000


def _list(mimc: "Mimc", asked: Asked) -> list[dict[str, Any]]:
    """Newest first. The documents show every value as a text."""
    return _contacts(mimc, asked, with_message_extra=False)


def _list_again(mimc: "Mimc", asked: Asked) -> list[dict[str, Any]]:
    return _contacts(mimc, asked, with_message_extra=asked.values.get("msgExtraFlag") == "true")


def _forget_account(mimc: "Mimc", asked: Asked) -> list[dict[str, Any]]:
    return _forget(mimc, asked, _with_account(asked, asked.text("member")))


def _forget_topic(mimc: "Mimc", asked: Asked) -> list[dict[str, Any]]:
    return _forget(mimc, asked, of_topic(asked.caller.app_id, asked.topic_id()))


def _set_extra_of_account(mimc: "Mimc", asked: Asked) -> None:
    _set_extra(mimc, asked, _with_account(asked, asked.text("account")))


def _set_extra_of_topic(mimc: "Mimc", asked: Asked) -> None:
    _set_extra(mimc, asked, of_topic(asked.caller.app_id, asked.topic_id()))


def _block(mimc: "Mimc", asked: Asked) -> None:
    mimc.blacklist.add(asked.caller.app_id, asked.caller.account, asked.text("blackAccount"))


def _unblock(mimc: "Mimc", asked: Asked) -> None:
    mimc.blacklist.remove(asked.caller.app_id, asked.caller.account, asked.text("blackAccount"))


def _is_blocked(mimc: "Mimc", asked: Asked) -> dict[str, bool]:
    caller = asked.caller
    return {"isBlack": mimc.blacklist.holds(caller.app_id, caller.account, asked.text("blackAccount"))}


def _status(mimc: "Mimc", asked: Asked) -> list[dict[str, Any]]:
    return [
        {"account": account, "onlineResources": list(mimc.presence.resources(asked.caller.app_id, account))}
        for account in asked.joined_some("accounts")
    ]


CALLS = (
    Call("GET", "/api/contact/", Credentials.HEADERS, _list),
    Call("GET", "/api/contact/v2/", Credentials.HEADERS, _list_again),
    Call("DELETE", "/api/contact/p2p/session", Credentials.HEADERS, _forget_account),
    Call("DELETE", "/api/contact/p2t/session", Credentials.HEADERS, _forget_topic),
    Call("POST", "/api/contact/p2p/extra/update", Credentials.HEADERS, _set_extra_of_account),
    Call("POST", "/api/contact/p2t/extra/update", Credentials.HEADERS, _set_extra_of_topic),
    Call("POST", "/api/blacklist/", Credentials.HEADERS, _block),
    Call("DELETE", "/api/blacklist/", Credentials.HEADERS, _unblock),
    Call("GET", "/api/blacklist/", Credentials.HEADERS, _is_blocked),
    Call("POST", "/api/account/status", Credentials.HEADERS, _status),
)


def _with_account(asked: Asked, other: str) -> Conversation:
    return between(asked.caller.app_id, asked.caller.account, other)


def _found(mimc: "Mimc", asked: Asked) -> list[tuple[Conversation, Kept]]:
    """The newest message of each conversation in the list; MIMC keeps it for a month, unlimited groups not at all."""
    app_id, account = asked.caller.app_id, asked.caller.account
    oldest_ms = time.time() * 1000 - _MONTH_MS
    return [
        (where, last)
        for where, last in mimc.history.last_of_each(app_id, account)
        if last.timestamp_ms >= oldest_ms
        and not mimc.contacts.is_removed(account, where, last.sequence)
        and (where[1] == "p2p" or mimc.unlimited.has_member(app_id, where[-1], account) is None)
    ]


def _contacts(mimc: "Mimc", asked: Asked, with_message_extra: bool) -> list[dict[str, Any]]:
    app_id, account = asked.caller.app_id, asked.caller.account
    contacts = []
    for where, last in _found(mimc, asked):
        message = {
            "fromUuid": mimc_user_id(app_id, last.from_account),
            "fromAccount": last.from_account,
            "payload": last.payload_base64,
            "sequence": str(last.sequence),
        }
        if with_message_extra and last.extra is not None:
            message["extra"] = last.extra
        contact = _whom(mimc, app_id, account, where) | {"timestamp": str(last.timestamp_ms), "lastMessage": message}
        extra = mimc.contacts.extra_of(account, where)
        contacts.append(contact if extra is None else contact | {"extra": extra})
    return contacts


def _whom(mimc: "Mimc", app_id: str, account: str, where: Conversation) -> dict[str, Any]:
    match where:
        case (_, "p2p", one, other):
            name = other if one == account else one
            return {"userType": "USER", "id": mimc_user_id(app_id, name), "name": name}
        case _:
            return {"userType": "TOPIC", "id": where[-1], "name": mimc.groups.name(app_id, where[-1]) or ""}


def _forget(mimc: "Mimc", asked: Asked, gone: Conversation) -> list[dict[str, Any]]:
    for where, last in _found(mimc, asked):
        if where == gone:
            mimc.contacts.remove(asked.caller.account, where, last.sequence)
    return _list(mimc, asked)


def _set_extra(mimc: "Mimc", asked: Asked, conversation: Conversation) -> None:
    extra = asked.optional_text("extra")
    if extra is None:
        raise Refused(BAD_REQUEST, "extra: expected a text")
    if conversation not in dict(_found(mimc, asked)):
        raise Refused(NOT_FOUND, "there is no such contact")
    mimc.contacts.set_extra(asked.caller.account, conversation, extra)
