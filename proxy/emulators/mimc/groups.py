"""Ordinary groups ("topics"): members, an owner, a bulletin. At most 500 members, as MIMC has it by default."""

import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from proxy.emulators.mimc.accounts import mimc_user_id
from proxy.emulators.mimc.refusals import BAD_REQUEST, FULL, NOT_ALLOWED, NOT_FOUND, Refused, quit_failed


@dataclass
class Group:
    """One group; `members` are in the order in which they came, and the owner is one of them."""

    app_id: str
    topic_id: str
    owner: str
    name: str
    bulletin: str = ""
    extra: str | None = None
    members: dict[str, None] = field(default_factory=dict)

    @property
    def topic_info(self) -> dict[str, Any]:
        facts = {
            "topicId": self.topic_id,
            "ownerUuid": mimc_user_id(self.app_id, self.owner),
            "ownerAccount": self.owner,
            "topicName": self.name,
            "bulletin": self.bulletin,
        }
        return facts if self.extra is None else facts | {"extra": self.extra}

    @property
    def whole(self) -> dict[str, Any]:
        """What MIMC answers to most calls."""
        members = [{"uuid": mimc_user_id(self.app_id, account), "account": account} for account in self.members]
        return {"topicInfo": self.topic_info, "members": members}


class Groups:
    """All groups of all apps, at most `limit`. Safe to use from several threads; every method raises Refused."""

    def __init__(self, limit: int, members_limit: int) -> None:
        self._limit, self._members_limit = limit, members_limit
        self._groups: dict[tuple[str, str], Group] = {}
        self._lock = threading.Lock()

    def create(self, group: Group, accounts: Collection[str]) -> dict[str, Any]:
        with self._lock:
            if len(self._groups) >= self._limit:
                raise Refused(FULL, "create topic fail: this emulator holds no more groups")
            self._add(group, [group.owner, *accounts])
            self._groups[group.app_id, group.topic_id] = group
            return group.whole

    def query(self, app_id: str, topic_id: str, account: str) -> dict[str, Any]:
        with self._lock:
            return self._of_member(app_id, topic_id, account).whole

    def of_account(self, app_id: str, account: str) -> list[dict[str, Any]]:
        """topicInfo of the groups that they are a member of."""
        with self._lock:
            return [
                group.topic_info
                for (app, _), group in self._groups.items()
                if app == app_id and account in group.members
            ]

    def invite(self, app_id: str, topic_id: str, account: str, accounts: Collection[str]) -> dict[str, Any]:
        with self._lock:
            group = self._of_member(app_id, topic_id, account)
            self._add(group, accounts)
            return group.whole

    def leave(self, app_id: str, topic_id: str, account: str) -> None:
        with self._lock:
            group = self._of_member(app_id, topic_id, account)
            if group.owner == account:
                raise quit_failed()
            del group.members[account]

    def kick(self, app_id: str, topic_id: str, account: str, accounts: Collection[str]) -> dict[str, Any]:
        with self._lock:
            group = self._of_owner(app_id, topic_id, account)
            if account in accounts:
                raise Refused(BAD_REQUEST, "accounts: the owner cannot be removed")
            for gone in accounts:
                group.members.pop(gone, None)
            return group.whole

    def update(self, app_id: str, topic_id: str, account: str, change: Callable[[Group], None]) -> dict[str, Any]:
        """`change` may raise Refused, before it changes anything."""
        with self._lock:
            group = self._of_owner(app_id, topic_id, account)
            change(group)
            return group.whole

    def destroy(self, app_id: str, topic_id: str, account: str) -> None:
        with self._lock:
            self._of_owner(app_id, topic_id, account)
            del self._groups[app_id, topic_id]

    def members(self, app_id: str, topic_id: str) -> Sequence[str]:
        with self._lock:
            return tuple(self._existing(app_id, topic_id).members)

    def name(self, app_id: str, topic_id: str) -> str | None:
        with self._lock:
            group = self._groups.get((app_id, topic_id))
            return group.name if group else None

    def has_member(self, app_id: str, topic_id: str, account: str) -> bool | None:
        """None if there is no such group."""
        with self._lock:
            group = self._groups.get((app_id, topic_id))
            return account in group.members if group else None

    def _existing(self, app_id: str, topic_id: str) -> Group:
        group = self._groups.get((app_id, topic_id))
        if group is None:
            raise Refused(NOT_FOUND, "topicId: no such topic")
        return group

    def _of_member(self, app_id: str, topic_id: str, account: str) -> Group:
        group = self._existing(app_id, topic_id)
        if account not in group.members:
            raise Refused(NOT_ALLOWED, "the account is no member of this topic")
        return group

    def _of_owner(self, app_id: str, topic_id: str, account: str) -> Group:
        group = self._existing(app_id, topic_id)
        if account != group.owner:
            raise Refused(NOT_ALLOWED, "the account does not own this topic")
        return group

    def _add(self, group: Group, accounts: Collection[str]) -> None:
        members = dict.fromkeys([*group.members, *accounts])
        if len(members) > self._members_limit:
            raise Refused(BAD_REQUEST, f"accounts: a topic has at most {self._members_limit} members")
        group.members = members
