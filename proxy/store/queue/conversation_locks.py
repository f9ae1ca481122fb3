"""Conversation locks: of alerts that replace each other on a phone one at a time is in flight. For the worker."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from proxy.domain.alerts import Order
from proxy.domain.conversations import ConversationState, LockRelease
from proxy.domain.lanes import Lane
from proxy.domain.times import MS
from proxy.store.keys import Layout
from proxy.store.records import dump_order, load_order
from proxy.store.scripts import Argument, Command, ask_strictly, script


class RedisConversationLocks:
    """`instance` names the worker that holds a lock."""

    def __init__(self, redis: Any, instance: str) -> None:
        self._redis = redis
        self._instance = instance

    async def acquire(self, lane: Lane, conversations: Sequence[str], lease: timedelta) -> list[ConversationState]:
        """Take each lock that is free, for a lease at most. Returns what is known of each conversation."""
        commands: list[Command] = []
        for name in conversations:
            commands += [
                ("SET", self._redis.layout.conversation_lock(lane, name), self._instance, "NX", "PX", lease // MS),
                ("MGET", self._redis.layout.shown(lane, name), self._redis.layout.sent(lane, name)),
            ]
        answers = await ask_strictly(self._redis, commands)
        return [
            ConversationState(bool(is_free), *(load_order(order) if order else None for order in orders))
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

    async def release(self, lane: Lane, releases: Sequence[LockRelease], ttl: timedelta) -> None:
        """The pushes of these conversations have ended: what was accepted is shown, what is over no longer is sent.

        A script a shard, for no script spans two.
        """
        layout: Layout = self._redis.layout
        by_shard: dict[int, tuple[list[str], list[Argument]]] = {}
        for one in releases:
            name = one.conversation
            names, args = by_shard.setdefault(layout.shard_of_digest(name), ([], [self._instance, ttl // MS]))
            names += [layout.conversation_lock(lane, name), layout.shown(lane, name), layout.sent(lane, name)]
            args += [dump_order(one.order) if one.order else b"", int(one.accepted), int(one.over)]
        await ask_strictly(self._redis, [script("land").call(names, args) for names, args in by_shard.values()])
