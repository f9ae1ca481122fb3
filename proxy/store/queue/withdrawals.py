"""Alerts that are taken back: which message a READ or RECALL names, and how far its alerts came.

Messages are found by the app's own msgId in their conversation: a group, or one person's messages to another. Only what
may still be shown is kept, and of each conversation the latest. Scripts: say, find_said, withdraw, "shown" of settle.
"""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain
from typing import Any

from proxy.domain.alerts import Order, Update
from proxy.domain.callbacks import digest
from proxy.domain.jobs import Job
from proxy.domain.lanes import Lane
from proxy.domain.offline_messages import OfflineMessage
from proxy.domain.times import MS, to_ms
from proxy.store.keys import Layout
from proxy.store.queue.folds import key_of
from proxy.store.records import dump_job
from proxy.store.replicas import Waits, counters_of
from proxy.store.scripts import Argument, Command, ask, ask_strictly, script, without_errors

MOST_SAID = 127  # messages of a conversation; with one more than that each would take twice the memory
MOST_BEFORE = 32  # of them are withdrawn together with the one that was read
_REPLICAS_TAKE_S = 1.0  # at most, one after the other
_MAY_WAIT_MS = 600_000  # accepted so long before it, they may wait for their plan still, as where a lane is full
# msgId and writer; message id; its sequence, or where it has none its time; which. Short, for each message has one
_MEMBER = struct.Struct(">10s16sQ?")
_MSG_ID, _WRITER = 6, 4  # bytes of their digests; only those in one conversation could be mistaken for each other
_MOST = 1 << 64


@dataclass(frozen=True)
class Said:
    """A message that was planned, as far as it is remembered.

    `before_ms`: of its conversation no message that comes after it was accepted up to then. MIMC repeats a callback
    that we did not take, so a message may be accepted after some that were written later.
    """

    message_id: str
    order: Order
    before_ms: int = 0


def is_withdrawn(mark: bytes | None) -> bool:
    """What a target's mark of a message says."""
    return mark is not None and mark[:1] in (b"w", b"W")


class RedisWithdrawals:
    """For the worker. `ttl`: how long a message can be taken back; `jobs_cap` is that of a lane."""

    def __init__(self, redis: Any, *, ttl: timedelta, jobs_cap: int, folds: bool = False, replicas: int = 0) -> None:
        """`folds`: the messages may be among those that are told together. `replicas`: so many of the store's have what
        was taken back before its callback ends.
        """
        self._redis, self._ttl_ms, self._jobs_cap, self._folds = redis, ttl // MS, jobs_cap, folds
        self._replicas = replicas

    @property
    def layout(self) -> Layout:
        layout: Layout = self._redis.layout
        return layout

    def saying(self, message: OfflineMessage, msg_id: str) -> Command:
        """Remembers a message; answered 1 where it was recalled before it came."""
        who, order = _named(msg_id) + _writer(message.sender), message.order
        sequence = _unsigned(order.sequence)
        member = _MEMBER.pack(
            who, bytes.fromhex(message.message_id), sequence or _unsigned(order.sent_at_ms), bool(sequence)
        )
        key = self._redis.layout.said(
            message.app_id, _conversation(message.conversation, message.recipients[0].account)
        )
        return script("say").call([key], [who, member, order.accepted_at_ms, MOST_SAID, self._ttl_ms])

    async def find(self, asked: Sequence[tuple[OfflineMessage, Update, str]]) -> list[list[Said]]:
        """For each READ or RECALL the message that it names by this msgId, and for a READ those before; one round trip.

        None where no such message is known, or where one who did not write it recalls it.
        """
        return [_all_said(answer) for answer in await ask_strictly(self._redis, [self._finding(*one) for one in asked])]

    async def withdraw(
        self,
        app_id: str,
        asked: Sequence[tuple[Sequence[Said], Sequence[tuple[Lane, Job]]]],
        then: Sequence[Command] = (),
    ) -> list[frozenset[Lane]]:
        """Take alerts of messages back at the targets of jobs, which are the withdrawals: in order, one round trip.

        Returns for each the lanes that are full: their targets are as they were. `then` is asked after all of that.
        Raises RedisError, also where too few replicas have it.
        """
        parts = [
            (place, messages, some, sorted({lane for lane, _ in some}))
            for place, (messages, jobs) in enumerate(asked)
            for some in self._by_shard(jobs)
        ]
        commands = [self._withdrawing(app_id, messages, some, lanes) for _, messages, some, lanes in parts]
        done = [*commands, *then]
        counters = counters_of(self.layout, done, app_id) if self._replicas else ()
        waits = Waits(counters, self._replicas, _REPLICAS_TAKE_S, self._redis.is_cluster)
        answers = without_errors(await ask(self._redis, done, waits.commands))
        for fault in waits.faults(answers[len(done) :]).values():
            raise fault
        full: list[set[Lane]] = [set() for _ in asked]
        for (place, _, _, lanes), answer in zip(parts, answers, strict=False):
            full[place].update(lanes[one] for one in answer)
        return [frozenset(lanes) for lanes in full]

    def _by_shard(self, jobs: Sequence[tuple[Lane, Job]]) -> Iterable[Sequence[tuple[Lane, Job]]]:
        found: dict[int, list[tuple[Lane, Job]]] = {}
        for lane, job in jobs:
            found.setdefault(self.layout.shard_of_account(job.account), []).append((lane, job))
        return found.values()

    def _withdrawing(
        self, app_id: str, messages: Sequence[Said], jobs: Sequence[tuple[Lane, Job]], lanes: Sequence[Lane]
    ) -> Command:
        layout, shard = self.layout, self.layout.shard_of_account(jobs[0][1].account)
        marks = [
            layout.marks_of_message(app_id, it.message_id, shard, it.order.accepted_at_ms, self._ttl_ms)
            for it in messages
        ]
        names = list(chain.from_iterable(marks))
        for lane in lanes:
            names += [layout.jobs(lane, shard), layout.retries(lane, shard)]
        accepted = [message.order.accepted_at_ms for message in messages]  # the latest first, but for the first
        may_wait = sum(accepted[0] - it <= _MAY_WAIT_MS for it in accepted)
        numbers = f"{len(messages)}/{may_wait}"
        if self._folds:
            is_read = jobs[0][1].alert.update is Update.READ
            numbers += f" {messages[0].before_ms if is_read else 0}"
        places = " ".join(f"{it.message_id} {len(its)}" for it, its in zip(messages, marks, strict=True))
        args: list[Argument] = [numbers, self._jobs_cap, self._ttl_ms, places]
        ids = [message.message_id for message in messages]
        for lane, job in jobs:
            field = layout.mark_of_target(app_id, ids, job.mark)
            args += [lanes.index(lane), field, dump_job(job, compact=layout.is_compact)]
            if self._folds:
                names.append(key_of(self._redis.layout, app_id, job))
                args.append(len(names))
        return script("withdraw").call(names, args)

    def _finding(self, notice: OfflineMessage, why: Update, msg_id: str) -> Command:
        is_recall = why is Update.RECALL
        others = notice.recipients[0].account if notice.recipients else ""
        if is_recall or notice.conversation.startswith("topic:"):
            conversation = _conversation(notice.conversation, others)
        else:  # what the one wrote to whom the READ goes, and the one read who sends it
            conversation = _conversation(f"p2p:{others}", notice.sender)
        named = _named(msg_id) + (_writer(notice.sender) if is_recall else b"")
        args: list[Argument] = [
            named, 0 if is_recall else MOST_BEFORE, to_ms(notice.accepted_at) if is_recall else "", MOST_SAID,
            self._ttl_ms,
        ]  # fmt: skip
        return script("find_said").call([self._redis.layout.said(notice.app_id, conversation)], args)


def _conversation(conversation: str, reader: str) -> str:
    """A group is one for all its members; between two people each is the other's reader."""
    return digest("said", conversation, "" if conversation.startswith("topic:") else reader)


def _named(msg_id: str) -> bytes:
    return bytes.fromhex(digest("msgId", msg_id))[:_MSG_ID]


def _writer(account: str) -> bytes:
    return bytes.fromhex(digest("writer", account))[:_WRITER]


def _unsigned(number: int) -> int:
    """0, as where there is none, for what does not fit: the next measure of order counts then."""
    return number if 0 <= number < _MOST else 0


def _all_said(answer: Sequence[bytes]) -> list[Said]:
    """The message that is named, and of those accepted before it those that come before it."""
    orders = list[tuple[str, Order]]()
    for member, accepted_at_ms in zip(answer[::2], answer[1::2], strict=True):
        if len(member) == _MEMBER.size:
            _, message_id, number, is_sequence = _MEMBER.unpack(member)
            sequence, sent_at_ms = (number, 0) if is_sequence else (0, number)
            orders.append((message_id.hex(), Order(sequence, sent_at_ms, int(float(accepted_at_ms)))))
    later = [order.accepted_at_ms for _, order in orders if order.is_later_than(orders[0][1])]
    before = [(message_id, order) for message_id, order in orders if not order.is_later_than(orders[0][1])]
    return [
        Said(message_id, order, min(order.accepted_at_ms, min(later, default=order.accepted_at_ms + 1) - 1))
        for message_id, order in before
    ]
