"""Ordinary groups: MIMC's chapter "topic". Who acts is in the headers alone; ownerAccount is the owner to be."""

from typing import TYPE_CHECKING, Any

from proxy.emulators.mimc.accounts import mimc_user_id
from proxy.emulators.mimc.asked import Asked, Call, Credentials
from proxy.emulators.mimc.groups import Group
from proxy.emulators.mimc.refusals import BAD_REQUEST, Refused

if TYPE_CHECKING:
    from proxy.emulators.mimc.service import Mimc


def _create(mimc: "Mimc", asked: Asked) -> dict[str, Any]:
    app_id, account = asked.caller.app_id, asked.caller.account
    group = Group(
        app_id, mimc.fresh_numbers().topic_id, account, asked.text("topicName"), extra=asked.optional_text("extra")
    )
    return mimc.groups.create(group, asked.joined("accounts"))


def _query(mimc: "Mimc", asked: Asked) -> dict[str, Any]:
    return mimc.groups.query(*_group_and_account(asked))


def _list(mimc: "Mimc", asked: Asked) -> list[dict[str, Any]]:
    return mimc.groups.of_account(asked.caller.app_id, asked.caller.account)


def _invite(mimc: "Mimc", asked: Asked) -> dict[str, Any]:
    return mimc.groups.invite(*_group_and_account(asked), asked.joined_some("accounts"))


def _leave(mimc: "Mimc", asked: Asked) -> None:
    mimc.groups.leave(*_group_and_account(asked))


def _kick(mimc: "Mimc", asked: Asked) -> dict[str, Any]:
    return mimc.groups.kick(*_group_and_account(asked), asked.joined_some("accounts"))


def _update(mimc: "Mimc", asked: Asked) -> dict[str, Any]:
    """In the members of the Chinese edition, or in those of the English one: ownerUuid, and topicId once more."""
    app_id, topic_id, account = _group_and_account(asked)
    owner, owner_uuid = asked.optional_text("ownerAccount"), asked.values.get("ownerUuid")
    given = {name: asked.optional_text(member) for name, member in _CHANGES.items()}
    changes = {name: value for name, value in given.items() if value is not None}
    if owner is None and owner_uuid is None and not changes:
        raise Refused(BAD_REQUEST, "expected some of ownerAccount, topicName, bulletin, extra")
    if changes.get("name") == "":
        raise Refused(BAD_REQUEST, "topicName: expected a non-empty text")

    def change(group: Group) -> None:
        heir = owner
        if owner_uuid is not None and owner is None:
            heir = next((name for name in group.members if mimc_user_id(app_id, name) == str(owner_uuid)), "")
        if heir is not None:
            if heir not in group.members:
                raise Refused(BAD_REQUEST, "ownerAccount: expected a member of the topic")
            group.owner = heir
        for name, value in changes.items():
            setattr(group, name, value)

    return mimc.groups.update(app_id, topic_id, account, change)


def _destroy(mimc: "Mimc", asked: Asked) -> None:
    mimc.groups.destroy(*_group_and_account(asked))


_GROUP = "/api/topic/{appId}/{topicId}"
_CHANGES = {"name": "topicName", "bulletin": "bulletin", "extra": "extra"}
CALLS = (
    Call("POST", "/api/topic/{appId}", Credentials.HEADERS, _create),
    Call("GET", _GROUP, Credentials.HEADERS, _query),
    Call("GET", "/api/topic/{appId}/account", Credentials.HEADERS, _list),
    Call("POST", f"{_GROUP}/accounts", Credentials.HEADERS, _invite),
    Call("DELETE", f"{_GROUP}/account", Credentials.HEADERS, _leave),
    Call("DELETE", f"{_GROUP}/accounts", Credentials.HEADERS, _kick),
    Call("PUT", _GROUP, Credentials.HEADERS, _update),
    # a full-width exclamation mark, as in the documents: who compares the message must learn of it
    Call("DELETE", _GROUP, Credentials.HEADERS, _destroy, message="success！"),
)


def _group_and_account(asked: Asked) -> tuple[str, str, str]:
    return asked.caller.app_id, asked.topic_id(), asked.caller.account
