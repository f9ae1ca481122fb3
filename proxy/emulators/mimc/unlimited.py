"""Unlimited groups ("uctopic"): no limit of members, no invitations, messages only for those who are online.

A client joins through its socket; here PUT /_emulator/uctopics/<topicId> does.
"""

import threading
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from proxy.emulators.mimc.accounts import mimc_user_id
from proxy.emulators.mimc.refusals import FULL, NOT_ALLOWED, NOT_FOUND, Refused

_PAGE = 100


@dataclass
class UnlimitedGroup:
    """One of them; the owner is a member from the start."""

    app_id: str
    topic_id: str
    owner: str
    name: str
    extra: str | None = None
    members: dict[str, None] = field(default_factory=dict)


class UnlimitedGroups:
    """All of all apps, at most `limit`. Safe to use from several threads."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._groups: dict[tuple[str, str], UnlimitedGroup] = {}
        self._lock = threading.Lock()

    def create(self, group: UnlimitedGroup) -> dict[str, Any]:
        """Raises Refused."""
        with self._lock:
            if len(self._groups) >= self._limit:
                raise Refused(FULL, "create topic fail: this emulator holds no more groups")
            group.members[group.owner] = None
            self._groups[group.app_id, group.topic_id] = group
        info = {"topicId": group.topic_id, "topicName": group.name, "ownerAccount": group.owner}
        return info if group.extra is None else info | {"extra": group.extra}

    def join(self, app_id: str, topic_id: str, accounts: Collection[str]) -> int:
        """How many members there are then. Raises Refused."""
        with self._lock:
            group = self._existing(app_id, topic_id)
            group.members |= dict.fromkeys(accounts)
            return len(group.members)

    def dismiss(self, app_id: str, topic_id: str, account: str) -> None:
        """Raises Refused."""
        with self._lock:
            if self._existing(app_id, topic_id).owner != account:
                raise Refused(NOT_ALLOWED, "the account does not own this topic")
            del self._groups[app_id, topic_id]

    def of_account(self, app_id: str, account: str) -> list[str]:
        """The ids of those that they are a member of."""
        with self._lock:
            return [
                topic_id
                for (app, topic_id), group in self._groups.items()
                if app == app_id and account in group.members
            ]

    def page(self, app_id: str, topic_id: str, start_uuid: int) -> tuple[list[dict[str, str]], bool]:
        """The members whose user ids are above that, lowest first, at most a hundred; and whether these are the last.

        `appAccout` is MIMC's own spelling, and what its clients read. Raises Refused.
        """
        with self._lock:
            members = tuple(self._existing(app_id, topic_id).members)
        ids = sorted((int(mimc_user_id(app_id, account)), account) for account in members)
        above = [found for found in ids if found[0] > start_uuid]
        page = [{"appId": app_id, "appAccout": account, "uuid": str(uuid)} for uuid, account in above[:_PAGE]]
        return page, len(above) <= _PAGE

    def members(self, app_id: str, topic_id: str) -> tuple[str, ...]:
        """Raises Refused."""
        with self._lock:
            return tuple(self._existing(app_id, topic_id).members)

    def has_member(self, app_id: str, topic_id: str, account: str) -> bool | None:
        """None if there is no such group."""
        with self._lock:
            group = self._groups.get((app_id, topic_id))
            return account in group.members if group else None

    def _existing(self, app_id: str, topic_id: str) -> UnlimitedGroup:
        group = self._groups.get((app_id, topic_id))
        if group is None:
            raise Refused(NOT_FOUND, "topicId: no such topic")
        return group
