"""Names that a developer's server tells, over a socket: what is remembered, left unasked, refused."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from proxy.channels.factory import TransportFactory
from proxy.channels.transfer import Limits
from proxy.domain.profiles import NOT_KNOWN, Profile, Question
from proxy.emulators.server import Ending
from proxy.profiles.lookup import Answer, ProfileLookup
from proxy.profiles.wire import ProfileWire
from proxy.settings import ProfileSettings
from tests.profiles.server import NamesServer, gzipped, serving_names

ANN = Question("ann")


class Asking:
    """A lookup whose clock stands still unless it is moved."""

    def __init__(self, settings: ProfileSettings, factory: TransportFactory, **bounds: int) -> None:
        self.now_s, self.answers, self.pauses = 1000.0, list[Answer](), 0
        self.transport = factory.profiles(settings)
        self.lookup = ProfileLookup(
            ProfileWire(settings),
            self.transport,
            timeout_s=settings.timeout.total_seconds(),
            keep_s=settings.cache.total_seconds(),
            now=lambda: datetime.now(UTC),
            clock=lambda: self.now_s,
            chance=lambda: 0.0,
            on_answer=self.answers.append,
            on_pause=self._paused,
            **bounds,
        )

    def _paused(self) -> None:
        self.pauses += 1

    async def name(self, account: str, group: str = "") -> Profile:
        """As the plan asks."""
        question = Question(account, group)
        known = self.lookup.known(question)
        return await self.lookup.ask(question) if known is None else known


def asking(settings: ProfileSettings, scene: Callable[[Asking], Awaitable[None]], **bounds: int) -> None:
    async def run() -> None:
        factory = TransportFactory(Limits(), lambda _: None)
        try:
            async with asyncio.timeout(20):
                await scene(Asking(settings, factory, **bounds))
        finally:
            await factory.aclose()

    asyncio.run(run())


@pytest.fixture(scope="module")
def shared() -> Iterator[NamesServer]:
    with serving_names() as server:
        yield server


@pytest.fixture
def server(shared: NamesServer) -> NamesServer:
    shared.says.clear()
    shared.asked.clear()
    return shared


def test_a_question_is_signed_and_its_answer_names_sender_and_group(server: NamesServer) -> None:
    server.says["ann"] = {
        "name": " Ann\u202e  Lee\n",
        "group_name": "Climbers",
        "avatar": "https://example.com/ann.png",
    }

    async def scene(it: Asking) -> None:
        ann = Profile("Ann Lee", "Climbers", "https://example.com/ann.png")
        assert await it.name("ann", "211") == ann
        assert await it.name("ann") == replace(ann, group_name="")
        assert await it.name("nobody") == NOT_KNOWN

    asking(server.settings, scene)
    assert server.asked == [{"account": "ann", "group": "211"}, {"account": "ann"}, {"account": "nobody"}]


def test_an_answer_is_remembered_for_its_time_and_asked_for_once_by_all_who_wait(server: NamesServer) -> None:
    server.says["ann"] = {"name": "Ann"}

    async def scene(it: Asking) -> None:
        assert await asyncio.gather(*(it.name("ann") for _ in range(20))) == [Profile("Ann")] * 20
        await it.name("nobody")
        server.says["ann"] = server.says["nobody"] = {"name": "Anna"}
        it.now_s += 59
        assert (await it.name("ann"), await it.name("nobody")) == (Profile("Ann"), NOT_KNOWN)
        it.now_s += 1
        assert await it.name("nobody") == Profile("Anna")  # somebody new has a name soon
        it.now_s += 540
        assert await it.name("ann") == Profile("Anna")

    asking(server.settings, scene)
    assert [question["account"] for question in server.asked] == ["ann", "nobody", "nobody", "ann"]


@pytest.mark.parametrize("bounds", [{"most_kept": 2}, {"most_bytes": 1600}])
def test_so_many_are_remembered_and_the_one_that_was_used_longest_ago_goes(
    server: NamesServer, bounds: dict[str, int]
) -> None:
    server.says |= {name: {"name": name} for name in ("ann", "ben", "cai")}

    async def scene(it: Asking) -> None:
        for account in ("ann", "ben", "ann", "cai"):
            await it.name(account)
        assert [it.lookup.known(Question(account)) is None for account in ("ann", "ben", "cai")] == [False, True, False]

    asking(server.settings, scene, **bounds)


HOSTILE: dict[str, Any] = {
    "a status of trouble": 500,
    "a refusal": 401,
    "a redirect": 302,
    "no JSON": b"<html>hello</html>",
    "nothing": b"",
    "no object": b'["Ann"]',
    "deep JSON": b'{"name":' * 100_000,
    "ten megabytes": b'{"name": "' + b"x" * 10_000_000 + b'"}',
    "a little too much": b'{"name": "Ann", "x": "' + b"x" * 20_000 + b'"}',
    "a bomb": gzipped(b'{"name": "' + b"x" * 10_000_000 + b'"}'),
    "half of it": Ending.TRUNCATED,
    "not HTTP": Ending.NOT_HTTP,
    "a reset": Ending.RESET,
}


@pytest.mark.parametrize("what", HOSTILE)
def test_whatever_is_no_answer_names_nobody_and_is_soon_asked_again(server: NamesServer, what: str) -> None:
    server.says["ann"] = HOSTILE[what]

    async def scene(it: Asking) -> None:
        assert await it.name("ann") == NOT_KNOWN
        assert it.lookup.known(ANN) == NOT_KNOWN
        it.now_s += 5
        server.says["ann"] = {"name": "Ann"}
        assert await it.name("ann") == Profile("Ann")
        assert it.answers == [Answer.FAILED, Answer.NAMED]

    asking(server.settings, scene)
    assert {"account": "elsewhere"} not in server.asked


@pytest.mark.parametrize(
    ("answer", "profile"),
    [
        ({"name": "\u202eadmin\u2066\x00\x1b[31m", "group_name": "\u200f" * 50}, Profile("admin[31m")),
        ({"name": "%s {0} ${x} %n <b>{{7*7}}"}, Profile("%s {0} ${x} %n <b>{{7*7}}")),
        ({"name": "x" * 5000}, Profile("x" * 99 + "…")),
        ({"name": 7, "group_name": ["a"], "avatar": {"url": "https://a"}}, NOT_KNOWN),
        ({"name": "Ann", "avatar": "http://10.0.0.1/x"}, Profile("Ann")),
        ({"name": "Ann", "avatar": "https://a/\r\nx"}, Profile("Ann")),
        ({}, NOT_KNOWN),
        (gzipped(b'{"name": "Ann"}'), Profile("Ann")),
        (204, NOT_KNOWN),
    ],
)
def test_a_name_is_cleaned_as_a_payload_s_is(server: NamesServer, answer: Any, profile: Profile) -> None:
    server.says["ann"] = answer

    async def scene(it: Asking) -> None:
        assert await it.name("ann") == profile
        assert it.answers == [Answer.UNKNOWN if profile == NOT_KNOWN else Answer.NAMED]

    asking(server.settings, scene)


def test_a_server_that_fails_is_left_alone_for_a_while_and_then_asked_once(server: NamesServer) -> None:
    accounts = [f"user-{number}" for number in range(6)]
    server.says |= dict.fromkeys(accounts, 503)

    async def scene(it: Asking) -> None:
        assert await asyncio.gather(*(it.name(account) for account in accounts[:5])) == [NOT_KNOWN] * 5
        assert it.pauses == 1
        assert it.lookup.known(Question(accounts[5])) == NOT_KNOWN
        it.now_s += 1  # the probe, and nobody beside it
        probe = it.lookup.ask(Question(accounts[5]))
        assert it.lookup.known(Question("ann")) == NOT_KNOWN
        assert await probe == NOT_KNOWN
        it.now_s += 1
        assert it.lookup.known(Question("ann")) == NOT_KNOWN  # twice as long
        it.now_s += 1
        server.says["ann"] = {"name": "Ann"}
        assert await it.name("ann") == Profile("Ann")
        assert it.lookup.known(Question("ben")) is None
        assert it.pauses == 1

    asking(server.settings, scene)


def test_a_server_that_is_silent_is_waited_for_no_longer_than_its_time(server: NamesServer) -> None:
    server.says["ann"] = Ending.SILENCE

    async def scene(it: Asking) -> None:
        assert await it.name("ann") == NOT_KNOWN
        assert it.answers == [Answer.FAILED]

    asking(server.settings_with(timeout_s=0.1), scene)


def test_one_account_whose_question_fails_each_time_leaves_the_others_theirs(server: NamesServer) -> None:
    server.says["ann"] = 500

    async def scene(it: Asking) -> None:
        for _ in range(10):
            await it.name("ann")
            it.now_s += 5
        assert it.lookup.known(Question("ben")) is None

    asking(server.settings, scene)


def test_a_kept_connection_that_was_closed_meanwhile_costs_no_name(server: NamesServer) -> None:
    server.says |= {"ann": Ending.CLOSE_AFTER, "ben": {"name": "Ben"}}

    async def scene(it: Asking) -> None:
        await it.name("ann")
        assert await it.name("ben") == Profile("Ben")

    asking(server.settings_with(connections=1, timeout_s=2.0), scene)


def test_what_waits_for_a_connection_longer_than_its_time_is_no_failure_of_the_server(server: NamesServer) -> None:
    async def scene(it: Asking) -> None:
        assert await it.transport.reserve(1) == 1  # all that there are
        await asyncio.gather(*(it.name(f"user-{number}") for number in range(8)))
        assert (it.answers, it.pauses) == ([Answer.LATE] * 8, 0)
        assert it.lookup.known(Question("user-0")) is None

    asking(server.settings_with(connections=1, timeout_s=0.1), scene)
    assert server.asked == []


def test_no_private_address_is_connected_to_whatever_its_name() -> None:
    """`localhost.` is a name that the start does not take for this machine, and that leads to it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        url = f"https://localhost.:{listener.getsockname()[1]}/names"
        settings = ProfileSettings.model_validate({"url": url, "secret": "whsec_" + "A" * 32})

        async def scene(it: Asking) -> None:
            assert await it.name("ann") == NOT_KNOWN
            assert it.answers == [Answer.FAILED]

        asking(settings, scene)
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_a_dead_server_names_nobody() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/names"
    settings = ProfileSettings.model_validate({"url": url, "secret": "whsec_" + "A" * 32})

    async def scene(it: Asking) -> None:
        assert await it.name("ann") == NOT_KNOWN

    asking(settings, scene)


def test_an_account_of_half_characters_is_asked_for() -> None:
    wire = ProfileWire(ProfileSettings.model_validate({"url": "https://a.example/x", "secret": "whsec_" + "A" * 32}))
    request = wire.build(Question("a\ud800b"), "id", datetime.now(UTC))
    assert request.body == b'{"account":"a?b"}'
    assert "a.example" not in repr(request)
