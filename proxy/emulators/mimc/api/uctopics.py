"""Unlimited groups: MIMC's chapter 15. Which group it is, is in a header; the rest of the answers is little known."""

from typing import TYPE_CHECKING, Any

from proxy.emulators.mimc.asked import Asked, Call, Credentials
from proxy.emulators.mimc.refusals import BAD_REQUEST, Refused
from proxy.emulators.mimc.unlimited import UnlimitedGroup

if TYPE_CHECKING:
    from proxy.emulators.mimc.service import Mimc

_EXTRA_LIMIT = 10 * 1024


def _create(mimc: "Mimc", asked: Asked) -> dict[str, Any]:
    extra = asked.optional_text("extra")
    if extra is not None and len(extra.encode()) > _EXTRA_LIMIT:
        raise Refused(BAD_REQUEST, f"extra: expected at most {_EXTRA_LIMIT} bytes")
    caller, topic_id = asked.caller, mimc.fresh_numbers().topic_id
    return mimc.unlimited.create(
        UnlimitedGroup(caller.app_id, topic_id, caller.account, asked.text("topicName"), extra)
    )


def _dismiss(mimc: "Mimc", asked: Asked) -> None:
    mimc.unlimited.dismiss(asked.caller.app_id, asked.topic_id_in_header(), asked.caller.account)


def _list(mimc: "Mimc", asked: Asked) -> list[str]:
    return mimc.unlimited.of_account(asked.caller.app_id, asked.caller.account)


def _users(mimc: "Mimc", asked: Asked) -> dict[str, Any]:
    start = asked.number_in_header("startUuid", default=0)
    members, is_end = mimc.unlimited.page(asked.caller.app_id, asked.topic_id_in_header(), start)
    return {"members": members, "isEnd": is_end}


def _online(mimc: "Mimc", asked: Asked) -> dict[str, Any]:
    app_id, topic_id = asked.caller.app_id, asked.topic_id_in_header()
    members = mimc.unlimited.members(app_id, topic_id)
    return {"topicId": topic_id, "userCnt": len(members) - len(mimc.presence.offline(app_id, members))}


CALLS = (
    Call("POST", "/api/uctopic", Credentials.HEADERS, _create),
    Call("DELETE", "/api/uctopic", Credentials.HEADERS, _dismiss),
    Call("GET", "/api/uctopic/topics", Credentials.HEADERS, _list),
    Call("GET", "/api/uctopic/userlist", Credentials.HEADERS, _users),
    Call("GET", "/api/uctopic/onlineinfo", Credentials.HEADERS, _online),
)
