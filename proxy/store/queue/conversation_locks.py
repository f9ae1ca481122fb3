"""Conversation locks: of alerts that replace each other on a phone one at a time is in flight. For the worker."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from redis.exceptions import RedisError

from proxy.domain.alerts import Order
from proxy.domain.conversations import ConversationState, LockRelease
from proxy.domain.lanes import Lane
from proxy.domain.times import MS
from proxy.store.keys import Layout
from proxy.store.records import dump_order, load_order
from proxy.store.scripts import Argument, Command, ask, ask_strictly, script
from proxy.store.slots import NodeAway
from proxy.store.troubles import is_one_nodes


class RedisConversationLocks:
    """`instance` names the worker that holds a lock."""

    def __init__(self, redis: Any, instance: str) -> None:
        self._redis = redis
        self._instance = instance

    async def acquire(
        self, lane: Lane, conversations: Sequence[str], lease: timedelta
    ) -> list[ConversationState | None]:
        """Take each lock that is free, for a lease at most. Returns what is known of each conversation; None where its
        node is away.
        """
        commands: list[Command] = []
        for name in conversations:
            commands += [
                ("SET", self._redis.layout.conversation_lock(lane, name), self._instance, "NX", "PX", lease // MS),
                ("MGET", self._redis.layout.shown(lane, name), self._redis.layout.sent(lane, name)),
            ]
        try:
            answers = await ask(self._redis, commands)
        except NodeAway:
            return [None] * len(conversations)
        for answer in answers:
            if isinstance(answer, RedisError) and not is_one_nodes(answer):
                raise answer
        return [
            None
            if is_one_nodes(is_free) or is_one_nodes(orders)
            else ConversationState(bool(is_free), *(load_order(order) if order else None for order in orders))
            for is_free, orders in zip(answers[::2], answers[1::2], strict=True)
        ]

    async def mark_sent(self, lane: Lane, leaving: Sequence[tuple[str, Order]], ttl: timedelta) -> None:
        """Pushes of these alerts leave now: until they are over they may be shown."""
        await ask_strictly(
            self._redis,
            [
                ("SET", self._redis.layout.sent(lane, name), dump_order(order), "PX", ttl // MS)
                for name, order in leaving
            ],
        )

    async def release(self, lane: Lane, releases: Sequence[LockRelease], ttl: timedelta) -> list[LockRelease]:
        """The pushes of these conversations have ended: what was accepted is shown, what is over no longer is sent.

        A script a shard, for no script spans two. Returns those whose node is away. Raises RedisError; then some may be
        released.
        """
        layout: Layout = self._redis.layout
        by_shard: dict[int, list[LockRelease]] = {}
        for one in releases:
            by_shard.setdefault(layout.shard_of_digest(one.conversation), []).append(one)
        try:
            answers = await ask(self._redis, [self._releasing(lane, some, ttl) for some in by_shard.values()])
        except NodeAway:
            return list(releases)
        undone = list[LockRelease]()
        for some, answer in zip(by_shard.values(), answers, strict=True):
            if is_one_nodes(answer):
                undone += some
            elif isinstance(answer, RedisError):
                raise answer
        return undone

    def _releasing(self, lane: Lane, releases: Sequence[LockRelease], ttl: timedelta) -> Command:
        layout: Layout = self._redis.layout
        names, args = list[str](), list[Argument]([self._instance, ttl // MS])
        for one in releases:
            name = one.conversation
            names += [layout.conversation_lock(lane, name), layout.shown(lane, name), layout.sent(lane, name)]
            args += [dump_order(one.order) if one.order else b"", int(one.accepted), int(one.over)]
        return script("land").call(names, args)
