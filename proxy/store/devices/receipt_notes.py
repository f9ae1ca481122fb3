"""What receipts say of alerts, for the history: each is a note of its own for the account and device that it is about.

A receipt names push tokens, and is not signed. So it is noted only for a target that its message was planned for, as
the message's marks say, and only as long as they are kept.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Any

from redis.exceptions import ResponseError

from proxy.domain.history import Note, shortened
from proxy.domain.jobs import target_mark
from proxy.domain.receipts import NOTED, DeliveryReceipt
from proxy.domain.times import to_ms
from proxy.store.connection import Store
from proxy.store.devices.receipts import PLANNED_BEFORE_MS, registered_owner
from proxy.store.history_records import record_of
from proxy.store.scripts import Command, ask_now

_TOGETHER = 500  # targets


@dataclass(frozen=True)
class _About:
    """A receipt for one of its targets: that account's, or that device's. `marked_as`: as in the message's marks."""

    receipt: DeliveryReceipt
    account: str
    device_id: str
    marked_as: str


class ReceiptNotes:
    """For a thread of its own, once a second."""

    def __init__(self, store: Store, app_ids: Mapping[str, str]) -> None:
        self._store, self._app_ids = store, app_ids

    def append(self, receipts: Sequence[DeliveryReceipt], now: datetime) -> int:
        """Four round trips for 500 targets. One that comes twice is noted twice.

        Returns how many the history did not take. Raises StoreUnavailable.
        """
        named = [(receipt, target) for receipt in receipts for target in receipt.targets]
        portions = (named[start : start + _TOGETHER] for start in range(0, len(named), _TOGETHER))
        return sum(self._store.call(partial(self._append, named=some, now=now)) for some in portions)

    def _append(self, redis: Any, *, named: Sequence[tuple[DeliveryReceipt, str]], now: datetime) -> int:
        about = [_About(receipt, target, "", receipt.channel) for receipt, target in named if receipt.by_account]
        about += self._owners(redis, [(receipt, target) for receipt, target in named if not receipt.by_account])
        marks = [self._marks_of(one) for one in about]
        answers = iter(ask_now(redis, [("HEXISTS", *mark) for some in marks for mark in some]))
        planned = [sum(islice(answers, len(some))) for some in marks]
        notes: dict[tuple[str, int], list[bytes]] = {}
        for one, was_planned in zip(about, planned, strict=True):
            if was_planned:
                where = self._app_ids[one.receipt.app], self._store.layout.shard_of_account(one.account)
                notes.setdefault(where, []).append(record_of(_note(one, now)))
        commands: list[Command] = [
            ("XADD", self._store.layout.history_new(*where), "*", "r", b"".join(some)) for where, some in notes.items()
        ]
        noted = ask_now(redis, commands, strictly=False) if commands else []
        # an error: it has no room, or the key is none of a stream
        return sum(
            len(some) for some, answer in zip(notes.values(), noted, strict=True) if isinstance(answer, ResponseError)
        )

    def _owners(self, redis: Any, named: Sequence[tuple[DeliveryReceipt, str]]) -> Iterator[_About]:
        """Of the push tokens that are registered."""
        owners = ask_now(redis, [self._owner(*one) for one in named])
        known = [(one, owner) for one, owner in zip(named, owners, strict=True) if None not in owner]
        asked: list[Command] = [
            (
                "HGET",
                self._store.layout.account_of(self._app_ids[receipt.app], receipt.app, account.decode()),
                device_id,
            )
            for (receipt, _), (account, device_id) in known
        ]
        answers = ask_now(redis, asked)
        for ((receipt, token), (account, device_id)), registration in zip(known, answers, strict=True):
            device = registered_owner(receipt, token, account, device_id, registration)
            if device is not None:
                yield _About(receipt, device.account, device.device_id, device.marked_as)

    def _owner(self, receipt: DeliveryReceipt, push_token: str) -> Command:
        key = self._store.layout.push_token(self._app_ids[receipt.app], receipt.app, receipt.channel, push_token)
        return ("HMGET", key, "account", "device")

    def _marks_of(self, one: _About) -> list[tuple[str, bytes]]:
        receipt = one.receipt
        layout = self._store.layout
        shard = layout.shard_of_account(one.account)
        return layout.mark_read(
            self._app_ids[receipt.app], receipt.reference.message_id, shard,
            target_mark(receipt.app, one.marked_as, one.account, one.device_id), to_ms(receipt.reference.sent_at),
            PLANNED_BEFORE_MS,
        )  # fmt: skip


def _note(one: _About, now: datetime) -> Note:
    receipt = one.receipt
    return Note(
        shortened(receipt.reference.message_id), "", 0, 0, NOTED[receipt.what], one.account, one.device_id, receipt.app,
        receipt.channel, pushed_at_ms=to_ms(receipt.reference.sent_at), ended_at_ms=to_ms(receipt.at or now),
    )  # fmt: skip
