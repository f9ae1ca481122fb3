"""Names that payloads lack, on a real store and a real server of names: who waits for them, and who does not."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from proxy.channels.factory import TransportFactory
from proxy.channels.transfer import Limits
from proxy.domain.previews import Preview
from proxy.domain.profiles import Question
from proxy.profiles.lookup import ProfileLookup
from proxy.profiles.wire import ProfileWire
from proxy.settings import ProfileSettings
from proxy.worker.naming import MOST_WAITING
from tests.profiles.server import NamesServer, serving_names
from tests.store.samples import callback
from tests.worker.test_plan import Instance, Logged, OnRelay, Relay, on_relay, readers, results

__all__ = ["on_relay"]  # the fixture

GROUP = "21351198708203521"
ANN, BEN = {"name": "Ann Lee", "group_name": "Climbers"}, {"name": "Ben", "group_name": "Climbers"}


@pytest.fixture
def server() -> Iterator[NamesServer]:
    with serving_names(ann=ANN) as server:
        yield server


def with_names(
    on_relay: OnRelay,
    settings: ProfileSettings,
    scene: Callable[[Relay, Instance], Awaitable[None]],
    prepare: Callable[[Relay], None] = lambda _: None,
) -> None:
    async def scenario(relay: Relay) -> None:
        factory = TransportFactory(Limits(), lambda _: None)
        relay.profiles = ProfileLookup(
            ProfileWire(settings), factory.profiles(settings),
            timeout_s=settings.timeout.total_seconds(), keep_s=600.0, now=lambda: datetime.now(UTC),
            clock=time.monotonic, chance=lambda: 0.0, on_answer=lambda _: None, on_pause=lambda: None,
        )  # fmt: skip
        prepare(relay)
        try:
            await relay.ensure_group()
            await scene(relay, relay.instance(relay.accounts))
        finally:
            await factory.aclose()

    on_relay(scenario)


def say(relay: Relay, sender: str, sequence: int, *, topic_id: str | None = None, **members: Any) -> None:
    payload = json.dumps({"type": "TEXT", "payload": f"text {sequence}", **members}).encode()
    one = callback(relay.app_id, readers(["cai"]), str(sequence), topic_id)
    relay.accept(replace(one, from_account=sender, payload=payload, biz_type=""))


async def titles(relay: Relay) -> list[tuple[str, str]]:
    """Title and text of all jobs, in the order of the lane."""
    return [(job.alert.text.title, job.alert.text.body) for job in await relay.jobs(relay.accounts)]


def test_a_name_is_the_payload_s_else_the_server_s_else_the_account(on_relay: OnRelay, server: NamesServer) -> None:
    async def scene(relay: Relay, one: Instance) -> None:
        say(relay, "ann", 1)
        say(relay, "ann", 2, nick="Annie")
        say(relay, "ann", 3, topic_id=GROUP, nick="Annie")
        say(relay, "ann", 4, topic_id=GROUP, nick="Annie", group="Boulders")
        say(relay, "dan", 5)
        await one.turn()
        shown = {job.alert.text.body: job.alert.text for job in await relay.jobs(relay.accounts)}
        assert [(shown[f"text {n}"].title, shown[f"text {n}"].group) for n in range(1, 6)] == [
            ("Ann Lee", ""), ("Annie", ""), ("Annie", "Climbers"), ("Annie", "Boulders"), ("dan", ""),
        ]  # fmt: skip

    def prepare(relay: Relay) -> None:
        relay.reading = replace(relay.reading, sender_name=(("nick",),), group_name=(("group",),))

    with_names(on_relay, server.settings, scene, prepare)
    assert sorted(map(str, server.asked)) == [
        "{'account': 'ann', 'group': '21351198708203521'}", "{'account': 'ann'}", "{'account': 'dan'}",
    ]  # fmt: skip


def test_messages_claimed_with_one_that_waits_for_its_name_are_planned_meanwhile(
    on_relay: OnRelay, server: NamesServer, logged: Logged
) -> None:
    server.held.add("ann")

    async def scene(relay: Relay, one: Instance) -> None:
        assert relay.profiles
        await relay.profiles.ask(Question("dan"))
        say(relay, "ann", 1)
        say(relay, "dan", 2)
        await one.worker.claim()
        assert await titles(relay) == [("dan", "text 2")]
        await one.consumer.settled()
        assert one.consumer.in_flight.free == 128  # and it takes nobody's place
        server.go_on.set()
        await one.worker.drained()
        assert await titles(relay) == [("dan", "text 2"), ("Ann Lee", "text 1")]
        assert await relay.left() == (0, 0)
        assert one.consumer.in_flight.free == 128

    with_names(on_relay, server.settings_with(timeout_s=2), scene)
    assert results(logged) == ["planned", "planned"]


def test_what_is_said_later_in_a_conversation_waits_behind_a_name(on_relay: OnRelay, server: NamesServer) -> None:
    server.held.add("ann")
    server.says["ben"] = BEN

    async def scene(relay: Relay, one: Instance) -> None:
        say(relay, "ann", 1, topic_id=GROUP)
        await one.worker.claim()
        say(relay, "ben", 2, topic_id=GROUP)
        say(relay, "ann", 3, topic_id=GROUP)
        say(relay, "ben", 4)  # another conversation
        await one.worker.claim()
        while len(await titles(relay)) < 1:
            await asyncio.sleep(0.01)
        assert await titles(relay) == [("Ben", "text 4")]
        server.go_on.set()
        await one.worker.drained()
        assert (await titles(relay))[1:] == [("Ann Lee", "text 1"), ("Ben", "text 2"), ("Ann Lee", "text 3")]

    with_names(on_relay, server.settings_with(timeout_s=2), scene)


def test_a_name_that_does_not_come_in_time_is_the_account(on_relay: OnRelay, server: NamesServer) -> None:
    server.held.add("ann")

    async def scene(relay: Relay, one: Instance) -> None:
        say(relay, "ann", 1)
        await one.turn()
        assert await titles(relay) == [("ann", "text 1")]

    with_names(on_relay, server.settings_with(timeout_s=0.05), scene)


def test_where_an_app_shows_nothing_no_name_is_asked_for(on_relay: OnRelay, server: NamesServer) -> None:
    async def scene(relay: Relay, one: Instance) -> None:
        say(relay, "ann", 1)
        await one.turn()
        assert await titles(relay) == [("", "")]

    with_names(on_relay, server.settings, scene, lambda relay: setattr(relay, "preview", Preview.NONE))
    assert server.asked == []


def test_no_name_is_asked_for_where_no_alert_follows(on_relay: OnRelay, server: NamesServer) -> None:
    async def scene(relay: Relay, one: Instance) -> None:
        say(relay, "ann", 1, type="PING")
        say(relay, "cai", 2)  # to themselves, from another phone
        await one.turn()
        assert await titles(relay) == []

    with_names(on_relay, server.settings, scene)
    assert server.asked == []


def test_of_very_many_that_lack_a_name_some_wait_and_the_others_show_the_account(
    on_relay: OnRelay, server: NamesServer
) -> None:
    """A server that is slow for all of them makes no backlog."""
    senders = [f"user-{number}" for number in range(MOST_WAITING + 100)]
    server.held |= set(senders)

    async def scene(relay: Relay, one: Instance) -> None:
        for number, sender in enumerate(senders):
            say(relay, sender, number)
        while len(await titles(relay)) < 100:
            await one.worker.claim()
        server.go_on.set()
        while len(await titles(relay)) < len(senders):  # on a slow machine some were given up before all were read
            await one.worker.claim()
            await one.worker.drained()
        assert len(await titles(relay)) == len(senders)
        assert one.consumer.in_flight.free == 128

    with_names(on_relay, server.settings_with(timeout_s=2), scene)


def test_a_recall_waits_behind_the_message_that_waits_for_its_name(on_relay: OnRelay, server: NamesServer) -> None:
    server.held.add("ann")

    async def scene(relay: Relay, one: Instance) -> None:
        say(relay, "ann", 1, msgId="m1")
        say(relay, "ann", 2, type="RECALL", payload="m1")
        await one.worker.claim()
        assert await relay.left() == (2, 2)
        server.go_on.set()
        await one.worker.drained()
        assert await relay.left() == (0, 0)
        assert await titles(relay) == [("Ann Lee", "text 1")]  # as without names: it is withdrawn when it would leave

    with_names(on_relay, server.settings_with(timeout_s=2), scene, lambda relay: setattr(relay, "withdraws", True))


def test_a_worker_that_is_killed_meanwhile_loses_nothing(on_relay: OnRelay, server: NamesServer) -> None:
    server.held.add("ann")

    async def scene(relay: Relay, one: Instance) -> None:
        say(relay, "ann", 1)
        await one.worker.claim()
        await one.worker.abandon()
        assert await relay.left() == (1, 1)
        server.go_on.set()
        other = relay.instance(relay.accounts, name="worker-2")
        await other.take_over()
        assert await titles(relay) == [("Ann Lee", "text 1")]

    with_names(on_relay, server.settings_with(timeout_s=2), scene)
