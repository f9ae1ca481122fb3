"""How many messages an account has not read: the number on its phones. With `alerts.badge` alone.

A message counts once its first alert for the account is planned (plan_chunk.lua), until it is read or recalled
(uncount.lua), for 7 days at most. An account has one hash: of each conversation its unread messages, in 8 bytes each,
and their number. A set for each conversation took six times the room, and three times the store's time.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from proxy.domain.alerts import Alert
from proxy.domain.callbacks import conversation_digest
from proxy.domain.jobs import Job
from proxy.domain.lanes import Lane
from proxy.domain.times import MS, to_ms
from proxy.store.connection import Store
from proxy.store.keys import Layout
from proxy.store.records import dump_job
from proxy.store.scripts import Argument, Command, ask_now, script

MOST_UNREAD = 100  # of a conversation, whose entries are written anew with each
MOST_CONVERSATIONS = 1000
UNREAD_TTL = timedelta(days=7)
WINDOW = timedelta(seconds=5)  # in which an account's phones are told once
_UNREAD_TTL_MS, _WINDOW_MS = UNREAD_TTL // MS, WINDOW // MS
_EPOCH_MS = 1_600_000_000_000  # September 2020: five bytes of milliseconds since then last until 2055


def counting(
    layout: Layout, app_id: str, alert: Alert, accounts: Sequence[str], now_ms: int
) -> tuple[list[str], list[Argument]]:
    """Keys and arguments for plan_chunk.lua, which counts the message of this alert for these accounts."""
    at = _since_epoch(alert.order.accepted_at_ms)
    entry = at.to_bytes(5, "big") + _id(alert.message_id)
    names = [layout.badge(app_id, it) for it in accounts]
    limits = MOST_UNREAD, MOST_CONVERSATIONS
    return names, [_conversation(alert.conversation), entry, at, now_ms - _EPOCH_MS, _UNREAD_TTL_MS, *limits]


def uncounting(
    layout: Layout,
    app_id: str,
    account: str,
    conversation: str,
    now: datetime,
    jobs: Sequence[tuple[Lane, Job]],
    *,
    message_ids: Sequence[str] = (),
    up_to_ms: int = 0,
) -> Command:
    """These messages, and those accepted up to that time, are unread no longer.

    `conversation` "": of all of them. `jobs` tell the account's phones the number. A message that is read is named too:
    for this account it may have been accepted later, by a callback of its own.
    """
    shard = layout.shard_of_account(account)
    retries = [layout.retries(lane, shard) for lane, _ in jobs]
    names = [layout.badge(app_id, account), layout.badge_due(app_id, account), *retries]
    args: list[Argument] = [
        _conversation(conversation) if conversation else "", b"".join(map(_id, message_ids)), _since_epoch(up_to_ms),
        _WINDOW_MS, to_ms(now) + _WINDOW_MS, _UNREAD_TTL_MS,
    ]  # fmt: skip
    return script("uncount").call(names, [*args, *(dump_job(job, compact=layout.is_compact) for _, job in jobs)])


def asking(layout: Layout, app_id: str, account: str) -> Command:
    """How many the account has not read; `number` reads the answer."""
    return ("HGET", layout.badge(app_id, account), "total")


def number(answer: bytes | None) -> int:
    return max(int(answer or 0), 0)


class RedisUnread:
    """For the web. `app_ids` maps a section's name to its appId."""

    def __init__(self, store: Store, app_ids: Mapping[str, str]) -> None:
        self._store, self._app_ids = store, app_ids

    def clear(self, app: str, account: str, conversation: str, now: datetime, jobs: Sequence[tuple[Lane, Job]]) -> int:
        """The account has read this conversation ("": all of them) up to now. Returns how many are left unread."""
        app_id = self._app_ids[app]
        command = uncounting(self._store.layout, app_id, account, conversation, now, jobs, up_to_ms=to_ms(now))
        ((_, left),) = self._store.call(lambda redis: ask_now(redis, [command]))
        return max(int(left), 0)


def _conversation(conversation: str) -> str:
    return conversation_digest(conversation)[:16]


def _id(message_id: str) -> bytes:
    """Three bytes tell it from the other messages of its conversation."""
    return bytes.fromhex(message_id[:6])


def _since_epoch(at_ms: int) -> int:
    return min(max(at_ms - _EPOCH_MS, 0), (1 << 40) - 1)
